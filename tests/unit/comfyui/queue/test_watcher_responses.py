"""Responses and messages that are unreadable, large, or too many."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from typing_extensions import override

from comfysup.comfyui import client as queue_api
from comfysup.comfyui.client import ComfyClient
from comfysup.comfyui.queue.watcher import QueueWatcher
from comfysup.linux.executor import UnresponsiveError
from comfysup.supervision.tasks import InThread
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import (
    BusyServer,
    QueuelessServer,
    QueueServer,
)

T = TypeVar("T")


def watch_in(desk: Desk, url: str, in_thread: InThread) -> None:
    """Watch a queue; `in_thread` parses its large responses."""
    api = ComfyClient(desk.session, url, in_thread)
    watcher = QueueWatcher(api, desk.backlog_store, lambda: 3600)
    desk.tasks.append(asyncio.create_task(watcher.run()))


async def test_an_unreadable_response_keeps_the_known_queue(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = BusyServer()
    server.faulty = False
    await serve(server)
    server.add("a")
    desk.watch(server.url, period=0.01)
    await until(lambda: desk.waiting == ["a"])
    server.faulty = True
    await server.tell()
    looks = server.looks
    await until(lambda: server.looks > looks + 2)

    assert desk.waiting == ["a"]
    server.faulty = False
    server.add("b")
    await until(lambda: desk.waiting == ["a", "b"])


async def test_a_program_without_a_queue_is_logged_once(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = QueuelessServer()
    with capture_logs() as logged:
        await serve(server)
        desk.watch(server.url, period=0.01)
        await until(lambda: server.looks > 2)

    [said] = [each for each in logged if each["event"] == "queue.unreadable"]
    assert said["error"] == "GET /queue did not return a queue: status 404"


async def test_a_queue_over_the_size_limit_is_not_read(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_api, "MAX_QUEUE_BYTES", 1000)
    server = await serve(QueueServer())
    watcher = desk.watch(server.url, period=0.01)
    server.add("a")
    await until(lambda: desk.waiting == ["a"])

    server.add(*(f"p{number}" for number in range(100)))
    await server.tell()

    looks = server.looks
    await until(lambda: server.looks > looks + 2)
    assert desk.waiting == ["a"]
    assert not watcher.is_known


async def test_a_large_queue_is_read_in_a_thread(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add(*(f"p{number:04}" for number in range(1000)), extra_data={"workflow": "x" * 1000})
    threads: list[threading.Thread] = []

    async def in_thread(work: Callable[[], T]) -> T:
        def recorded() -> T:
            threads.append(threading.current_thread())
            return work()

        return await asyncio.to_thread(recorded)

    watch_in(desk, server.url, in_thread)

    await until(lambda: desk.waiting)
    assert len(desk.waiting) == 1000
    assert threads
    assert threading.main_thread() not in threads


async def test_a_large_queue_is_read_later_if_all_threads_are_busy(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add(*(f"p{number:04}" for number in range(1000)), extra_data={"workflow": "x" * 1000})
    errors = iter([UnresponsiveError("the parsing of queues", 3.0)])

    async def in_thread(work: Callable[[], T]) -> T:
        if error := next(errors, None):
            raise error
        return work()

    watch_in(desk, server.url, in_thread)

    await until(lambda: desk.waiting)
    assert len(desk.waiting) == 1000
    assert next(errors, None) is None


class FloodingServer(QueueServer):
    """Sends status messages or pings without a pause while its `/ws` is read."""

    pings = False

    @override
    async def ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        exec_info = {"queue_remaining": 0}
        message = json.dumps({"type": "status", "data": {"status": {"exec_info": exec_info}}})
        reading = asyncio.create_task(socket.receive())  # of pongs, until the client closes
        with suppress(ConnectionError):
            while not reading.done():
                for _ in range(200):
                    await (socket.ping(b"") if self.pings else socket.send_str(message))
                await asyncio.sleep(0)
        reading.cancel()
        return socket


@pytest.mark.parametrize("pings", [False, True])
async def test_a_flood_of_messages_is_read_in_small_portions(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch, *, pings: bool
) -> None:
    """Other tasks run after each portion, regardless of the number of messages."""
    server = FloodingServer()
    server.pings = pings
    in_a_row = longest = 0

    def counted(work: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def count(*arguments: object) -> object:
            nonlocal in_a_row, longest
            in_a_row += 1
            longest = max(longest, in_a_row)
            return await work(*arguments)

        return count

    for name in ("receive", "pong"):
        work = getattr(aiohttp.ClientWebSocketResponse, name)
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, name, counted(work))
    await serve(server)
    desk.watch(server.url)

    await until(lambda: longest > 0)
    for _ in range(20):
        in_a_row = 0
        await asyncio.sleep(0)
    assert longest <= 100  # calls: a ping is read and answered
