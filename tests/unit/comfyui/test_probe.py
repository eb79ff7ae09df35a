"""Probes of instances that are ready."""

import asyncio
import os
import resource
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from comfysup.comfyui import probe as module
from comfysup.comfyui.client import MAX_FACTS_BYTES
from comfysup.comfyui.probe import ComfyProber
from comfysup.linux.host.ports import owns_port
from comfysup.supervision.protocols import Finding
from tests.scenarios.waiting import NEVER, bounded
from tests.unit.comfyui.probing import LONG, SHORT, Serve, closed_port, in_thread, probe, spec, stop
from tests.unit.comfyui.servers import (
    NOT_COMFYUI,
    ComfyServer,
    EndlessServer,
    FixedServer,
    SilentServer,
    SlowServer,
    TricklingServer,
    answer,
)

# Alive.


async def test_a_responding_instance_is_healthy(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    server = await serve(ComfyServer())

    assert Finding.ANSWERED is await probe(session, server.port).ask(LONG)
    assert server.headers[0].startswith("GET /prompt HTTP/1.1")


async def test_a_closed_port_is_reported_as_refused(session: aiohttp.ClientSession) -> None:
    async with bounded():
        assert Finding.REFUSED is await probe(session, closed_port()).ask(NEVER)


@pytest.mark.parametrize("server_type", [SilentServer, SlowServer, TricklingServer])
async def test_no_response_in_time_is_silence(
    session: aiohttp.ClientSession, serve: Serve, server_type: type[ComfyServer]
) -> None:
    server = await serve(server_type())

    assert Finding.SILENT is await probe(session, server.port).ask(SHORT)


@pytest.mark.parametrize("reply", NOT_COMFYUI)
async def test_a_response_of_another_program_is_silence(
    session: aiohttp.ClientSession, serve: Serve, reply: str
) -> None:
    server = await serve(NOT_COMFYUI[reply]())

    assert Finding.SILENT is await probe(session, server.port).ask(LONG)


async def test_a_listener_that_accepts_no_connections_is_silent(
    session: aiohttp.ClientSession,
) -> None:
    """A stopped process: the kernel accepts connections until the backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        findings = [await probe(session, port).ask(SHORT) for _ in range(4)]

    assert findings == [Finding.SILENT] * 4


async def test_an_endless_response_is_read_up_to_the_limit(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    server = await serve(EndlessServer())

    await probe(session, server.port).ask(LONG)

    # What the sockets of both sides hold comes on top.
    assert server.sent < MAX_FACTS_BYTES + (16 << 20)


async def test_silence_of_a_process_that_uses_cpu_is_busy(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    silent = await serve(SilentServer())
    good = await serve(ComfyServer())

    assert Finding.BUSY is await probe(session, silent.port, busy=True).ask(SHORT)
    assert Finding.ANSWERED is await probe(session, good.port, busy=True).ask(LONG)
    assert Finding.REFUSED is await probe(session, closed_port(), busy=True).ask(LONG)


async def test_cpu_use_is_checked_only_without_a_response(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    """At the first silence also before it, so that "since the last call" is defined."""
    calls = 0

    async def is_busy() -> bool:
        nonlocal calls
        calls += 1
        return False

    prober = ComfyProber(session, in_thread(owns_port), lambda _spec, _pid: is_busy)
    good = prober.probe(spec((await serve(ComfyServer())).port), 42)
    silent = prober.probe(spec((await serve(SilentServer())).port), 42)

    await good.ask(LONG)
    assert calls == 0
    await silent.ask(SHORT)
    assert calls == 2
    await silent.ask(SHORT)
    assert calls == 3


async def test_each_probe_opens_a_new_connection(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    """A connection left over from an earlier generation would never be answered."""
    server = await serve(ComfyServer())
    asked = probe(session, server.port)
    for _ in range(3):
        await asked.ask(LONG)

    assert len(set(server.peers)) == 3


async def test_a_probe_never_waits_for_another(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    """aiohttp alone would let 100 connections wait for each other."""
    silent = await serve(SilentServer())
    good = await serve(ComfyServer())
    hanging = [asyncio.create_task(probe(session, silent.port).ask(LONG)) for _ in range(150)]
    await silent.was_asked(150)

    assert Finding.ANSWERED is await probe(session, good.port).ask(LONG)

    await stop(*hanging)


async def test_a_daemon_without_descriptors_does_not_blame_the_instance(
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    server = await serve(ComfyServer())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        finding = await probe(session, server.port).ask(LONG)
        listening = module._is_listening(server.port)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert finding is Finding.BUSY
    assert not listening


async def test_a_cancelled_probe_leaves_nothing_open(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    server = await serve(SilentServer())
    asking = asyncio.create_task(probe(session, server.port).ask(LONG))
    await server.was_asked(1)
    await stop(asking)

    assert session.connector is not None
    assert not session.connector._acquired


async def test_proxies_of_the_environment_are_ignored(
    session: aiohttp.ClientSession, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    server = await serve(ComfyServer())

    assert Finding.ANSWERED is await probe(session, server.port).ask(LONG)


async def test_a_cookie_is_not_stored(session: aiohttp.ClientSession, serve: Serve) -> None:
    server = await serve(FixedServer(answer(b"{}", extra="Set-Cookie: id=1; Path=/\r\n")))
    asked = probe(session, server.port)
    await asked.ask(LONG)
    await asked.ask(LONG)

    assert "Cookie" not in server.headers[1]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x"
    files = (str(tmp_path / "c.pem"), str(tmp_path / "k.pem"))
    options = ["-out", files[0], "-keyout", files[1]]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    return files


async def test_an_instance_with_tls_is_probed_without_verification(
    session: aiohttp.ClientSession, serve: Serve, certificate: tuple[str, str]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = await serve(ComfyServer(), tls=context)
    prober = ComfyProber(session, in_thread(owns_port))
    given = ("--tls-keyfile", certificate[1], "--tls-certfile", certificate[0])
    asked = prober.probe(spec(server.port, *given), os.getpid())
    await asked.until_ready()

    assert Finding.ANSWERED is await asked.ask(LONG)
