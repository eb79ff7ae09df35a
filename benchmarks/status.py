"""Throughput of `status`, compared with a bare aiohttp handler that returns the same bytes."""

import argparse
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.figures import milliseconds, show
from benchmarks.load import Outcome, client, load
from benchmarks.stage import PATIENCE, built_stage
from benchmarks.supervisors import a_free_port, comfysup, comfysup_daemon

HEADINGS = ("server", "bytes", "responses/s", "median ms", "p99 ms")
PATH = "/api/comfyui/status"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.status", description=__doc__)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5, help="duration of a round")
    parser.add_argument("--rounds", type=int, default=3, help="the best round is shown")
    options = parser.parse_args()
    with (
        built_stage(options.children) as stage,
        comfysup_daemon(stage) as daemon,
        comfysup(stage, stage.ports, daemon),
    ):
        body = _get(daemon.port)
        with _bare(body) as bare:
            ports = {"comfysup": daemon.port, "a bare aiohttp handler": bare}
            rounds = [
                {who: _load(port, options) for who, port in ports.items()}
                for _ in range(options.rounds)
            ]
    rows = [_row(who, len(body), [outcome[who] for outcome in rounds]) for who in ports]
    title = f"{PATH} of {options.children} instances, {options.clients} clients ({client()})"
    show(title, HEADINGS, rows)


@contextmanager
def _bare(body: bytes) -> Iterator[int]:
    """Run a server that answers each request with `body`; yield its port."""
    port = a_free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            if process.stdin:
                process.stdin.write(body)
                process.stdin.close()
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            _get(port)
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise TimeoutError(f"no server responds on port {port}")


def _get(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with closing(connection):
        connection.request("GET", PATH)
        return connection.getresponse().read()


def _load(port: int, options: argparse.Namespace) -> Outcome:
    return load(f"http://127.0.0.1:{port}{PATH}", options.clients, options.seconds)


def _row(who: str, size: int, outcomes: list[Outcome]) -> tuple[str, ...]:
    best = max(outcomes, key=lambda outcome: outcome.answers_per_second)
    return (
        who,
        f"{size:,}",
        f"{best.answers_per_second:,.0f}",
        milliseconds(best.median),
        milliseconds(best.p99),
    )


if __name__ == "__main__":
    main()
