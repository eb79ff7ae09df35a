"""The time from a kill to the next start, broken down by phase."""

import argparse
import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from benchmarks.figures import NANOSECONDS, Figures, milliseconds, show
from benchmarks.respawn import kill
from benchmarks.stage import built_stage
from benchmarks.supervisors import STABLE_AFTER, comfysup, comfysup_daemon

KILLED = "SIGKILL sent"
BEGAN = "next process started"


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
    """Return the median time of each phase.

    Only respawns with the most frequent sequence of phases count. In the others another event
    intervened, such as an instance that became ready.
    """
    passed = [_passed(respawn, notes) for respawn in respawns]
    ways = Counter(tuple(places) for places in passed)
    (usual, _), *_ = ways.most_common(1)
    times = [list(places.values()) for places in passed if tuple(places) == usual]
    rows = [
        (place, _median([each[number] - each[number - 1] for each in times]))
        for number, place in enumerate(usual)
        if number
    ]
    return [*rows, ("total", _median([each[-1] - each[0] for each in times]))]


def _median(nanoseconds: Sequence[int]) -> str:
    return milliseconds(Figures([each * NANOSECONDS for each in nanoseconds]).median)


def _passed(respawn: tuple[int, int], notes: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return the time of each phase of one respawn; a repeated phase gets a distinct name."""
    killed, began = respawn
    times = [at for _, at in notes]
    passed: dict[str, int] = {}
    for place, at in notes[bisect_left(times, killed) : bisect_left(times, began)]:
        name = place
        while name in passed:
            name += ", again"
        passed[name] = at
    return {KILLED: killed, **passed, BEGAN: began}


if __name__ == "__main__":
    main()
