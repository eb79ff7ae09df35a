"""Running supervisors: comfysup, started as users start it, with the children of a stage."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage import ENVIRONMENT, PATIENCE, Stage
from comfysup.cli.client import Client, NotReachableError

STABLE_AFTER = 0.2
"""Seconds until an instance is stable, reduced from a minute to shorten the benchmark."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A supervisor whose children all run.

    `log_of` returns the log of the child with that port. `settle` waits until the supervisor would
    restart that child without delay.
    """

    name: str
    pid: int
    log_of: Callable[[int], Path]
    settle: Callable[[int], None]


@dataclass(slots=True)
class Daemon:
    """A comfysup daemon, a `client` of its API, and its `port`.

    Code that kills the process must set `process` to the next one.
    """

    process: subprocess.Popen[bytes]
    client: Client
    port: int
    environ: Mapping[str, str]


@contextmanager
def comfysup_daemon(
    stage: Stage, command: Sequence[str] = ("-m", "comfysup"), **settings: str
) -> Iterator[Daemon]:
    """Run a daemon on the stage's workspace; `settings` are variables without COMFYSUP_."""
    port = a_free_port()
    environ = daemon_environ(stage, port, **settings)
    file = stage.directory / "daemon.log"
    with file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "serve"], env=environ, stdout=log, stderr=log
        )
    daemon = Daemon(process, Client(environ), port, environ)
    try:
        if not _becomes_reachable(daemon.client, process):
            raise RuntimeError(f"the daemon exited: {file.read_text()[-2000:]}")
        yield daemon
    finally:
        daemon.process.terminate()
        daemon.process.wait()
    stage.clear()


@contextmanager
def comfysup(
    stage: Stage, ports: Sequence[int], daemon: Daemon, name: str = "comfysup"
) -> Iterator[Supervisor]:
    """Start an instance for each of the ports, and stop them afterwards."""
    numbers = {port: number for number, port in enumerate(ports)}

    def settle(port: int) -> None:
        path = f"/api/comfyui/instances/{numbers[port]}"
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            instance = daemon.client.get(path)
            if instance["ready"] and not instance["consecutive_failures"]:
                return
            time.sleep(0.01)
        raise TimeoutError(f"instance {numbers[port]} did not become stable")

    instances = [{"id": number, "port": port} for port, number in numbers.items()]
    body = {"environment": ENVIRONMENT, "instances": instances}
    answer = daemon.client.post("/api/comfyui/start-instances", body)
    for result in answer["results"]:
        if result["status"] != "started":
            raise RuntimeError(f"cannot start instance {result['name']}: {result['error']}")
    stage.wait_for_all(ports)
    logs = stage.directory / "logs"
    try:
        yield Supervisor(
            name,
            daemon.process.pid,
            lambda port: logs / f"comfyui_instance_{numbers[port]}.log",
            settle,
        )
    finally:
        daemon.client.post("/api/comfyui/stop-all")


def daemon_environ(stage: Stage, port: int, **settings: str) -> dict[str, str]:
    """Return the environment variables of a daemon on the stage's workspace."""
    places = {"WORKSPACE": "", "RUN_DIR": "run", "INSTANCES_FILE": "instances.json"}
    chosen = {name: str(stage.directory / path) for name, path in places.items()}
    chosen |= {"HOST": "127.0.0.1", "PORT": str(port), **settings}
    return stage.environ | {f"COMFYSUP_{name}": value for name, value in chosen.items()}


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _becomes_reachable(client: Client, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the daemon responds or exits; return whether it responds."""
    while process.poll() is None:
        try:
            client.get("/livez")
        except NotReachableError:
            time.sleep(0.01)
        else:
            return True
    return False
