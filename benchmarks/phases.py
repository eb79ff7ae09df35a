"""Where the time between a death and the next start goes, place by place."""

import argparse
import json
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from benchmarks.figures import NANOSECONDS, Figures, milliseconds, show
from benchmarks.respawn import kill
from benchmarks.stage import built_stage
from benchmarks.supervisors import STABLE_AFTER, comfysup, comfysup_daemon

KILLED = "SIGKILL is sent"
BEGAN = "the next process begins"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phases", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--kills", type=int, default=300)
    options = parser.parse_args()
    with built_stage(options.children) as stage:
        file = stage.directory / "notes"
        stage.environ["BENCH_NOTES"] = str(file)
        with (
            comfysup_daemon(
                stage, ("-m", "benchmarks.traced"), STABLE_AFTER=str(STABLE_AFTER)
            ) as daemon,
            comfysup(stage, stage.ports, daemon) as supervisor,
        ):
            time.sleep(2 * STABLE_AFTER)
            ports = [stage.ports[number % options.children] for number in range(options.kills)]
            respawns = [kill(stage, supervisor, port) for port in ports]
        notes = [(place, at) for place, at in json.loads(file.read_text())]
    show("From SIGKILL to the start of the next process", ("until", "ms"), _rows(respawns, notes))


def _rows(
    respawns: Sequence[tuple[int, int]], notes: Sequence[tuple[str, int]]
) -> list[tuple[str, str]]:
    """Return the median time from one place to the next, in the order of the median respawn."""
    steps: dict[str, list[float]] = defaultdict(list)
    for respawn in respawns:
        passed = _passed(respawn, notes)
        for (_, before), (place, at) in pairwise(passed):
            steps[place].append((at - before) * NANOSECONDS)
    whole = Figures([(began - killed) * NANOSECONDS for killed, began in respawns])
    rows = [(place, milliseconds(Figures(seconds).median)) for place, seconds in steps.items()]
    return [*rows, ("all together", milliseconds(whole.median))]


def _passed(respawn: tuple[int, int], notes: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the places passed during one respawn, each when it was first passed."""
    killed, began = respawn
    times = [at for _, at in notes]
    first: dict[str, int] = {}
    for place, at in notes[bisect_left(times, killed) : bisect_left(times, began)]:
        first.setdefault(place, at)
    return [(KILLED, killed), *first.items(), (BEGAN, began)]


if __name__ == "__main__":
    main()
