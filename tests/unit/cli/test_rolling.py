"""Rolling restarts while other callers stop instances."""

from typing import Any, cast

from comfysup.cli.client import Client
from comfysup.cli.instances import one_by_one


class Table:
    """A fake client; `wanted` are the ids of the wanted instances."""

    def __init__(self, *wanted: int) -> None:
        self.wanted = set(wanted)

    def get(self, _path: str) -> dict[str, Any]:
        return {
            "instances": [
                {"id": number, "name": f"n{number}", "wanted": number in self.wanted}
                for number in range(4)
            ]
        }


def test_an_instance_stopped_during_a_rolling_restart_is_skipped() -> None:
    table = Table(0, 1, 2)
    done = []
    for [ref] in one_by_one(cast("Client", table), ["0", "n1", "2", "3"]):
        done.append(ref)
        table.wanted.discard(1)

    # What did not run from the beginning was named all the same.
    assert done == ["0", "2", "3"]
