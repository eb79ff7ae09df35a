"""When an instance counts as ready."""

import asyncio
import errno
import os
import threading

import aiohttp
import pytest

from comfysup.comfyui import probe as module
from comfysup.comfyui.probe import ComfyProber
from comfysup.linux.executor import UnresponsiveError
from comfysup.linux.host.ports import owns_port
from comfysup.supervision.protocols import Finding
from tests.scenarios.waiting import bounded
from tests.unit.comfyui.probing import LONG, SHORT, Serve, closed_port, in_thread, probe, spec, stop
from tests.unit.comfyui.servers import (
    NOT_COMFYUI,
    ComfyServer,
    RedirectingServer,
    SilentServer,
    SlowServer,
)

# Ready.


async def test_an_instance_is_ready_when_its_own_process_answers_as_comfyui(
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    server = await serve(ComfyServer())
    prober = ComfyProber(session, in_thread(owns_port))

    await prober.probe(spec(server.port), os.getpid()).until_ready()

    assert server.headers[0].startswith("GET /system_stats HTTP/1.1")


async def test_a_port_that_opens_late_is_detected_by_the_next_probe(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    port = closed_port()
    prober = ComfyProber(session, in_thread(owns_port))
    waiting = asyncio.create_task(prober.probe(spec(port), os.getpid()).until_ready())
    await asyncio.sleep(0)  # a turn of the loop: it has looked once
    await serve(ComfyServer(), port)

    async with bounded():
        await waiting

    assert module.LOOK_PERIOD <= 0.05  # so that it is seen within 100 ms


async def test_another_program_that_answers_as_comfyui_is_not_ready(
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    stranger = await serve(ComfyServer())
    looked = threading.Semaphore(0)

    def owns(pid: int, port: int) -> bool:
        looked.release()
        return False

    waiting = asyncio.create_task(probe(session, stranger.port, owns).until_ready())
    for _ in range(3):
        await asyncio.to_thread(looked.acquire)

    assert not waiting.done()
    assert stranger.asked == 0

    await stop(waiting)


async def test_the_instance_is_ready_once_the_other_program_has_left_the_port(
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    stranger = await serve(ComfyServer())
    ours = threading.Event()
    looked = threading.Event()

    def owns(pid: int, port: int) -> bool:
        looked.set()
        return ours.is_set()

    waiting = asyncio.create_task(probe(session, stranger.port, owns).until_ready())
    await asyncio.to_thread(looked.wait)
    await stranger.close()
    server = await serve(ComfyServer(), stranger.port)
    ours.set()
    await waiting

    assert server.asked == 1


async def test_an_undeterminable_owner_of_a_port_is_checked_again(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    server = await serve(ComfyServer())
    failures = iter([UnresponsiveError("/proc/42", 10.0), OSError(errno.EMFILE, "no more")])

    async def owns(pid: int, port: int) -> bool:
        for failure in failures:
            raise failure
        return True

    await ComfyProber(session, owns).probe(spec(server.port), 42).until_ready()

    assert server.asked == 1


@pytest.mark.parametrize("reply", NOT_COMFYUI)
async def test_an_own_process_that_does_not_answer_as_comfyui_is_not_ready(
    session: aiohttp.ClientSession, serve: Serve, reply: str
) -> None:
    server = await serve(NOT_COMFYUI[reply]())
    waiting = asyncio.create_task(probe(session, server.port).until_ready())
    await server.was_asked(3)

    assert not waiting.done()

    await stop(waiting)


async def test_a_slow_first_response_is_awaited(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    server = await serve(SlowServer())
    waiting = asyncio.create_task(probe(session, server.port).until_ready())
    await server.was_asked(1)
    server.released.set()
    await waiting

    assert server.asked == 1


async def test_a_missing_first_response_is_requested_again(
    session: aiohttp.ClientSession, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY_PATIENCE", SHORT)
    server = await serve(SilentServer())
    waiting = asyncio.create_task(probe(session, server.port).until_ready())
    await server.was_asked(3)

    assert not waiting.done()

    await stop(waiting)


async def test_a_failed_check_of_the_port_owner_is_no_response(
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    server = await serve(ComfyServer())
    looks = iter([OSError(24, "Too many open files"), None])

    def owns(pid: int, port: int) -> bool:
        if error := next(looks):
            raise error
        return True

    await probe(session, server.port, owns).until_ready()

    assert server.asked == 1


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession, serve: Serve) -> None:
    good = await serve(ComfyServer())
    server = await serve(RedirectingServer(good.port))
    waiting = asyncio.create_task(probe(session, server.port).until_ready())
    await server.was_asked(2)

    assert Finding.SILENT is await probe(session, server.port).ask(LONG)
    assert not waiting.done()
    assert good.asked == 0

    await stop(waiting)
