"""The order of the steps of a restart in place."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from comfysup.app import daemon as module
from comfysup.app.daemon import Daemon


async def test_fifos_are_handed_over_once_no_launch_is_in_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def step(name: str) -> Any:  # noqa: ANN401 - whatever is asked of it
        return lambda *_: done.append(name)

    async def pass_on(_see_off: object) -> SimpleNamespace:
        done.append("pass on")
        return SimpleNamespace(tcp=[], own=[], tcp_callers=[], own_callers=[])

    def hold_fifos() -> list[int]:
        done.append("hold")
        return []

    async def release() -> None:
        done.append("release")

    monkeypatch.setattr(module, "block_signals", lambda: None)
    parts = SimpleNamespace(
        fleet=type(
            "Fleet", (list,), {"dismiss": step("dismiss"), "release": staticmethod(release)}
        )(),
        publisher=SimpleNamespace(
            daemon=step("tell"), journal=SimpleNamespace(close=step("close"))
        ),
        facts=None,
        logs=SimpleNamespace(close=step("close")),
    )
    run = SimpleNamespace(keep_lock=list, hold_fifos=hold_fifos)
    daemon = Daemon(cast("Any", None))

    await daemon._hand_over(
        cast("Any", parts), cast("Any", run), cast("Any", SimpleNamespace(pass_on=pass_on))
    )

    # A request that is still answered may ask for a launch, and a launch makes a FIFO.
    assert [each for each in done if each in {"pass on", "release", "hold"}] == [
        "pass on",
        "release",
        "hold",
    ]
