"""Ports in use, and other programs on them: scenarios 4 and 5."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from typing_extensions import override

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def listener_on(port: int) -> Iterator[int]:
    """Yield the pid of a process that listens on the port and does not respond."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


async def test_a_port_used_by_another_program_is_refused_with_its_pid_and_name(
    daemon: Daemon,
) -> None:
    """Scenario 4."""
    Program(daemon.workspace)
    port = daemon.ports.reserve()
    await daemon.start()
    body = {"instances": [{"id": 1, "port": port, "name": "x"}]}

    with listener_on(port) as pid:
        single = await daemon.api.start(0, port)
        several = await daemon.api.ask("POST", f"{API}/start-instances", body)
    [result] = several.body["results"]
    program = os.path.basename(sys.executable)  # noqa: PTH119

    assert (single.status, single.body["code"]) == (409, "port_taken")
    assert (several.status, result["status"]) == (200, "error")
    for text in (single.detail, result["error"]):
        assert f"port {port} " in text
        assert f"pid {pid} '{program[:15]}" in text
    assert await daemon.api.show_all() == []
    assert (await daemon.api.start(0, port)).status == 200


async def test_the_port_of_another_instance_is_refused_while_it_may_restart(
    daemon: Daemon,
) -> None:
    """Scenario 4: running, backing off, stopping; and free once it is stopped."""
    Program(daemon.workspace)
    broken = Program(daemon.workspace, "broken", script="exit 1")
    port, other = daemon.ports.reserve(), daemon.ports.reserve()
    await daemon.start(backoff_initial=600, backoff_max=600)
    await daemon.api.start(0, port, name="runs")
    await daemon.api.start(1, other, name="backs off", environment="broken")
    await daemon.api.until(1, state="backoff")

    running = await daemon.api.start(2, port)
    backing_off = await daemon.api.start(2, other)

    for answer, owner in ((running, "0 'runs'"), (backing_off, "1 'backs off'")):
        assert (answer.status, answer.body["code"]) == (409, "port_taken")
        assert f"belongs to instance {owner}" in answer.detail
    assert [each["id"] for each in await daemon.api.show_all()] == [0, 1]
    await daemon.api.act(1, "stop")
    assert (await daemon.api.start(2, other)).status == 200
    assert not broken.said("anything")


async def test_the_daemons_own_port_is_refused(daemon: Daemon) -> None:
    """Scenario 4: 8001 or the configured port."""
    Program(daemon.workspace)
    await daemon.start()

    answer = await daemon.api.start(0, daemon.port)

    assert (answer.status, answer.body["code"]) == (409, "port_taken")
    assert "belongs to comfysup itself" in answer.detail


async def test_a_port_taken_during_a_back_off_fails_until_the_port_is_free(
    daemon: Daemon,
) -> None:
    """Scenario 4: the port must be free before each respawn."""
    program = Program(daemon.workspace, script="exit 1")
    port = daemon.ports.reserve()
    await daemon.start(max_failures=1000, backoff_max=0.05)
    await daemon.api.start(0, port)

    with listener_on(port) as pid:
        program.write("serve")

        def refused() -> list[dict[str, Any]]:
            """Starts without a process; an earlier process finds the port in use itself."""
            ended = daemon.events("instance.exited", reason="port_in_use")
            return [each for each in ended if f"pid {pid} " in each["message"]]

        await until(refused)
    running = await daemon.api.until(0, state="running")

    assert running["pid"]


class Impostor(BaseHTTPRequestHandler):
    """Answers as ComfyUI would."""

    def do_GET(self) -> None:
        body = b'{"system": {"python_version": "3"}, "devices": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


class CountingServer(HTTPServer):
    """Count the connections."""

    accepted = 0

    @override
    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.accepted += 1
        return True


@contextmanager
def impostor_on(address: str, port: int) -> Iterator[CountingServer]:
    with CountingServer((address, port), Impostor) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
async def test_another_program_that_answers_as_comfyui_makes_no_instance_ready(
    daemon: Daemon, address: str
) -> None:
    """Scenario 5: probed twenty times, and never ready."""
    program = Program(
        daemon.workspace, script='say pid $$; while [ ! -e "$said.go" ]; do sleep 0.01; done; serve'
    )
    port = daemon.ports.reserve()
    await daemon.start()
    starting = asyncio.create_task(daemon.api.start(0, port))
    await until(lambda: program.said("pid"))

    with impostor_on(address, port) as server:
        await until(lambda: server.accepted >= 20)
        believed = await daemon.api.show(0)
    (program.directory / "said.go").touch()
    answer = await starting

    assert (believed["state"], believed["ready"]) == ("starting", False)
    assert (answer.status, answer.body["instance"]["generation"]) == (200, 1)
