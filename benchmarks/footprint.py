"""Memory and CPU time of a supervisor whose children are idle."""

import argparse
import time

from benchmarks import peers, processes
from benchmarks.figures import show
from benchmarks.stage import built_stage
from benchmarks.supervisors import Supervisor, comfysup, comfysup_daemon

HEADINGS = ("supervisor", "children", "RSS MB", "PSS MB", "% of a core")
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    peers.add_option(parser)
    options = parser.parse_args()
    rows = []
    with built_stage(options.children) as stage, peers.installed(options.peers) as others:
        for ports in ((), stage.ports):
            with (
                comfysup_daemon(stage) as daemon,
                comfysup(stage, ports, daemon) as supervisor,
            ):
                rows.append(_row(supervisor, len(ports), options.seconds))
        for peer in others:
            with peer(stage, stage.ports) as supervisor:
                rows.append(_row(supervisor, len(stage.ports), options.seconds))
    show(f"Idle for {options.seconds:g} seconds", HEADINGS, rows)


def _row(supervisor: Supervisor, children: int, seconds: float) -> tuple[str, ...]:
    time.sleep(2)  # until its startup has finished
    pid = supervisor.pid
    before = processes.cpu_seconds(pid)
    time.sleep(seconds)
    share = (processes.cpu_seconds(pid) - before) / seconds
    return (
        supervisor.name,
        str(children),
        f"{processes.resident(pid) / MB:.1f}",
        f"{processes.proportional(pid) / MB:.1f}",
        f"{share:.2%}",
    )


if __name__ == "__main__":
    main()
