"""Cost of a daemon crash and of a restart in place: adoption time, memory, descriptors."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import processes
from benchmarks.figures import Figures, milliseconds, show
from benchmarks.stage import PATIENCE, Stage, built_stage
from benchmarks.startup import wait_for_answer
from benchmarks.supervisors import Daemon, comfysup, comfysup_daemon

MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=200)
    options = parser.parse_args()
    rows = []
    with built_stage(options.children) as stage:
        for ports in ((), stage.ports):
            with comfysup_daemon(stage) as daemon, comfysup(stage, ports, daemon):
                adoptions = Figures([_take_over(stage, daemon) for _ in range(options.kills)])
                what = f"start to response, {len(ports)} instances adopted"
                rows.append((what, *_shown(adoptions)))
        with comfysup_daemon(stage) as daemon, comfysup(stage, stage.ports, daemon):
            usage = _restart(daemon, options.restarts)
    show("Daemon crash", ("measurement", "median ms", "worst ms"), rows)
    show("Restart in place", ("restarts", "RSS MB", "descriptors"), usage)


def _take_over(stage: Stage, daemon: Daemon) -> float:
    """Kill the daemon; return the seconds from the start of the next one to its first response."""
    daemon.process.kill()
    daemon.process.wait()
    with (stage.directory / "daemon.log").open("ab") as log:
        began = time.perf_counter()
        command = [sys.executable, "-m", "comfysup", "serve"]
        process = subprocess.Popen(command, env=daemon.environ, stdout=log, stderr=log)
    wait_for_answer(daemon.port)
    took = time.perf_counter() - began
    daemon.process = process
    return took


def _restart(daemon: Daemon, times: int) -> list[tuple[str, str, str]]:
    """Restart the daemon `times` times; return its memory and descriptors at five points."""
    pid = daemon.process.pid
    rows = []
    for number in range(times + 1):
        if number % (times // 4) == 0:
            time.sleep(2)  # until its startup has finished
            held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            rows.append((str(number), f"{processes.resident(pid) / MB:.1f}", str(held)))
        before = _started_at(daemon)
        os.kill(pid, signal.SIGHUP)
        _wait_for_new_start(daemon, before)
    return rows


def _started_at(daemon: Daemon) -> str:
    return str(daemon.client.get("/api/comfyui/daemon")["started_at"])


def _wait_for_new_start(daemon: Daemon, before: str) -> None:
    until = time.monotonic() + PATIENCE
    while _started_at(daemon) == before:
        if time.monotonic() > until:
            raise TimeoutError("the daemon did not restart")
        time.sleep(0.05)


def _shown(figures: Figures) -> tuple[str, str]:
    return milliseconds(figures.median), milliseconds(max(figures.seconds))


if __name__ == "__main__":
    main()
