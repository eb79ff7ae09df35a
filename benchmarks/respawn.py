"""Respawn latency of a killed child: from SIGKILL to the first instruction of the next process."""

import argparse
import os
import signal
import time
from collections.abc import Sequence

from benchmarks import peers
from benchmarks.figures import NANOSECONDS, Figures, milliseconds, show
from benchmarks.stage import Stage, built_stage
from benchmarks.supervisors import STABLE_AFTER, Supervisor, comfysup, comfysup_daemon

HEADINGS = ("supervisor", "children", "kills", "median ms", "p99 ms", "worst ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.respawn", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--kills", type=int, default=500, help="maximum for each supervisor")
    parser.add_argument("--seconds", type=float, default=120, help="maximum for each supervisor")
    peers.add_option(parser)
    options = parser.parse_args()
    rows = []
    with built_stage(options.children) as stage, peers.installed(options.peers) as others:
        for ports in (stage.ports[:1], stage.ports):
            with (
                comfysup_daemon(stage, STABLE_AFTER=str(STABLE_AFTER)) as daemon,
                comfysup(stage, ports, daemon) as supervisor,
            ):
                time.sleep(2 * STABLE_AFTER)
                rows.append(_row(stage, supervisor, ports, options))
        for peer in others:
            with peer(stage, stage.ports) as supervisor:
                rows.append(_row(stage, supervisor, stage.ports, options))
    show("From SIGKILL to the start of the next process", HEADINGS, rows)


def kill(stage: Stage, supervisor: Supervisor, port: int) -> tuple[int, int]:
    """Kill the child with that port; return the times of the kill and of the next start.

    Both are nanoseconds of the monotonic clock. Returns once the next process is stable, so
    respawns do not overlap.
    """
    supervisor.settle(port)
    pid = stage.start_of(port).pid
    killed_at = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    started_at = stage.next_start(port).at
    supervisor.settle(port)
    return killed_at, started_at


def _row(
    stage: Stage, supervisor: Supervisor, ports: Sequence[int], options: argparse.Namespace
) -> tuple[str, ...]:
    """Kill the children in turn until the number of kills or the time is reached."""
    seconds = []
    until = time.monotonic() + options.seconds
    for number in range(options.kills):
        killed_at, started_at = kill(stage, supervisor, ports[number % len(ports)])
        seconds.append((started_at - killed_at) * NANOSECONDS)
        if time.monotonic() > until:
            break
    found = Figures(seconds)
    shown = (found.median, found.percentile(99), max(seconds))
    return (supervisor.name, str(len(ports)), str(len(seconds)), *map(milliseconds, shown))


if __name__ == "__main__":
    main()
