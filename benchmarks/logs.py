"""Log throughput from a child that writes without pause, and status latency meanwhile."""

import argparse
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks import peers, processes
from benchmarks.figures import Figures, milliseconds, show
from benchmarks.stage import PATIENCE, Stage, built_stage
from benchmarks.status import PATH
from benchmarks.supervisors import Supervisor, comfysup, comfysup_daemon

HEADINGS = ("supervisor", "bytes per write", "seconds", "MB/s", "memory growth MB")
CHUNKS = (4096, 100)
MB = 1e6
NO_ROTATION = "1000 GB"
"""The maximum log size, so that no supervisor rotates and one file size shows the progress."""
PAUSE = 0.002
"""Seconds between two polls of the log size, and between two requests for the status."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="the median is shown")
    peers.add_option(parser)
    options = parser.parse_args()
    latencies: list[float] = []
    rows = []
    with built_stage(1) as stage, peers.installed(options.peers) as others:
        with (
            comfysup_daemon(stage, LOG_MAX_BYTES=NO_ROTATION) as daemon,
            comfysup(stage, stage.ports, daemon) as supervisor,
        ):
            rows += _rows(stage, supervisor, options)
            with _polling_status(daemon.port, latencies):
                polled = replace(supervisor, name="comfysup, polled for status")
                rows += _rows(stage, polled, options)
        for peer in others:
            with peer(stage, stage.ports) as supervisor:
                rows += _rows(stage, supervisor, options)
    show(f"{options.megabytes} MB of log", HEADINGS, rows)
    found = Figures(latencies)
    shown = (found.median, found.percentile(99), max(latencies))
    headings = ("requests", "median ms", "p99 ms", "worst ms")
    show("Status meanwhile", headings, [(str(len(latencies)), *map(milliseconds, shown))])


def _rows(
    stage: Stage, supervisor: Supervisor, options: argparse.Namespace
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for chunk in CHUNKS:
        before = processes.resident(supervisor.pid)
        size = options.megabytes * 1_000_000 // chunk * chunk
        seconds = [_flood(stage, supervisor, size, chunk) for _ in range(options.rounds)]
        grown = processes.peak_resident(supervisor.pid) - before
        took = Figures(seconds).median
        rows.append(
            (
                supervisor.name,
                str(chunk),
                f"{took:.2f}",
                f"{size / MB / took:,.0f}",
                f"{max(grown, 0) / MB:.1f}",
            )
        )
    return rows


def _flood(stage: Stage, supervisor: Supervisor, size: int, chunk: int) -> float:
    """Return the seconds from the request to write until the log contains every byte."""
    (port,) = stage.ports
    supervisor.settle(port)
    file = supervisor.log_of(port)
    until = file.stat().st_size + size
    child = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    child.request("GET", f"/flood/{size}/{chunk}")
    while file.stat().st_size < until:
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError(f"{supervisor.name} wrote only {file.stat().st_size} bytes")
        time.sleep(PAUSE)
    took = time.perf_counter() - began
    child.getresponse().read()
    return took


@contextmanager
def _polling_status(port: int, latencies: list[float]) -> Iterator[None]:
    """Request the status from a thread over one connection; append each latency."""
    over = threading.Event()

    def poll() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not over.wait(PAUSE):
            began = time.perf_counter()
            connection.request("GET", PATH)
            connection.getresponse().read()
            latencies.append(time.perf_counter() - began)

    polling = threading.Thread(target=poll)
    polling.start()
    try:
        yield
    finally:
        over.set()
        polling.join()


if __name__ == "__main__":
    main()
