"""What is known of a queue, and how soon."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from typing_extensions import override

from comfysup.comfyui import client as queue_api
from comfysup.comfyui.client import ComfyClient
from comfysup.comfyui.diagnosis.conditions import IN_A_ROW
from comfysup.comfyui.queue import watcher as queue_module
from comfysup.comfyui.queue.watcher import LOOK_GAP, QueueWatcher, pauses
from comfysup.linux.executor import UnresponsiveError
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import Rescue
from comfysup.supervision.tasks import InThread
from tests.scenarios.waiting import until, until_async
from tests.unit.comfyui.queue.conftest import Desk, Serve
from tests.unit.comfyui.queue.server import (
    BusyServer,
    HeldServer,
    OldServer,
    QueuelessServer,
    QueueServer,
)

T = TypeVar("T")


def watch_in(desk: Desk, url: str, in_thread: InThread) -> None:
    """Watch a queue; `in_thread` parses its large responses."""
    api = ComfyClient(desk.session, url, in_thread)
    watcher = QueueWatcher(api, desk.backlog_store, lambda: 3600)
    desk.tasks.append(asyncio.create_task(watcher.run()))


def knows(desk: Desk, number: int) -> bool:
    return len(desk.waiting) == number


async def test_a_watcher_starts_with_the_running_and_the_waiting_prompts(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    server.take()

    watcher = desk.watch(server.url)
    assert not watcher.is_known

    await until(lambda: (desk.running, desk.waiting) == (["a"], ["b"]))
    assert watcher.is_known


async def test_a_change_at_the_same_depth_is_not_missed(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])

    server.waiting.pop()
    server.add("c")
    await server.tell()

    await until(lambda: desk.waiting != ["a", "b"])
    assert desk.waiting == ["a", "c"]


async def test_an_idle_queue_is_not_asked_for(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    desk.watch(server.url, period=0.01)
    await until(lambda: server.looks)
    looks = server.looks

    for number in range(3):
        server.add(f"p{number}")
        await server.tell()
        await until(partial(knows, desk, number + 1))

    assert server.looks <= looks + 1 + 3


def test_the_pause_between_two_looks_is_bounded_by_the_size_of_the_queue() -> None:
    """And by half a second, whatever that is; not by how long a look took."""
    assert pauses(0) == (LOOK_GAP, LOOK_GAP)
    assert pauses(1_000_000) == (LOOK_GAP, 0.1)
    assert pauses(20_000_000) == (0.2, 0.5)
    assert pauses(10**9) == (0.5, 0.5)


async def test_a_queue_of_another_depth_than_is_known_is_not_known(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = HeldServer()
    await serve(server)
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)

    server.free.clear()
    server.add("a")
    await server.tell()

    await until(lambda: not watcher.is_known)
    assert desk.backlog_store.backlog.unseen == 1
    server.free.set()
    await until(lambda: watcher.is_known)
    assert desk.waiting == ["a"]


async def test_a_queue_is_not_known_while_its_process_does_not_answer(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(QueueServer())
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    monkeypatch.setattr(queue_module, "UNSURE_AFTER", 0.0)

    watcher.probed(answered=False)
    assert not watcher.is_known
    looks = server.looks
    watcher.probed(answered=True)

    await until(lambda: server.looks > looks)


async def test_messages_sent_before_an_exit_are_read(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = HeldServer()
    await serve(server)
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    server.free.clear()
    server.add("a", "b")
    await server.tell()
    await server.hang_up()

    await watcher.hear_out()

    desk.backlog_store.lost(Rescue.ALL, crashed=True)
    [unseen] = desk.news
    assert (unseen.prompt_id, unseen.reason, unseen.count) == (None, "unseen", 2)
    server.free.set()


async def look_is_held(server: HeldServer, watcher: QueueWatcher) -> None:
    """Has the watcher look, and the server keep the answer back until it is `free`."""
    looks = server.looks
    server.free.clear()
    watcher.probed(answered=False)
    watcher.probed(answered=True)
    await until(lambda: server.looks > looks)


async def test_a_response_that_precedes_its_messages_is_trusted(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node held the GIL; what came meanwhile is shown by the look that waited, and then told."""
    server = HeldServer()
    server.add("holds")
    server.take()
    await serve(server)
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    monkeypatch.setattr(queue_module, "UNSURE_AFTER", 0.0)
    await look_is_held(server, watcher)
    server.finish()
    server.add("a", "b", "c")
    server.take()
    server.free.set()
    await until(lambda: desk.waiting == ["b", "c"])
    server.free.clear()

    frames, depths = watcher.frames, (0, 1, 1, 2, 3)
    for depth in depths:
        await server.tell(depth)
    await until(lambda: watcher.frames == frames + 2 * len(depths))
    server.free.set()

    desk.backlog_store.lost(Rescue.ALL, crashed=True)
    assert (desk.owed, desk.news) == (["a", "b", "c"], [])
    assert desk.backlog_store.backlog.struck == {"a"}


async def test_a_burst_of_changes_takes_few_looks(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    desk.watch(server.url)
    await until(lambda: server.looks)

    for number in range(200):
        server.add(f"p{number}")
        await server.tell()

    await until(lambda: len(desk.waiting) == 200)
    assert server.looks < 100


async def test_without_a_websocket_the_queue_is_polled_in_each_period(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(OldServer())
    desk.watch(server.url, period=0.01)
    await until(lambda: server.looks)

    server.add("a")

    await until(lambda: desk.waiting)
    assert desk.waiting == ["a"]


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


async def test_a_queue_too_large_to_be_read_is_left_alone(
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


async def test_a_large_queue_is_read_later_where_all_threads_are_busy(
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


async def test_the_known_queue_is_saved(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.backlog_store.kept()

    next_ledger = desk.new_ledger()
    await next_ledger.load()

    assert next_ledger.backlog == desk.backlog_store.backlog.connected()


async def test_a_key_is_not_on_disk(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", extra_data={"api_key_comfy_org": "hush"})
    server.add("b", extra_data={"auth_token_comfy_org": "hush"})
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.backlog_store.kept()

    written = desk.path.read_text()

    assert "hush" not in written
    assert [each["id"] for each in json.loads(written)["waiting"]] == ["a", "b"]


async def test_an_emptied_backlog_leaves_no_file(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a")
    server.take()
    desk.watch(server.url)
    await until(desk.path.exists)

    server.finish()
    await server.tell()

    await until(lambda: not desk.path.exists())
    assert desk.running == desk.waiting == []


@pytest.mark.parametrize("written", [b"{", b'{"form": 1}', b"\xff"])
async def test_a_file_that_cannot_be_read_is_kept_aside(desk: Desk, written: bytes) -> None:
    desk.path.write_bytes(written)

    await desk.backlog_store.load()

    assert desk.backlog_store.backlog.is_empty
    assert StateFile(desk.path.with_suffix(".broken")).read() == written


async def test_prompts_that_fail_in_a_row_by_an_error_of_the_gpu_are_a_condition(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    """They fail at once, so that none is ever seen running."""
    server = await serve(QueueServer())
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    for number in range(IN_A_ROW):
        assert await watcher.condition() is None
        server.add(f"p{number}")
        await server.tell()
        await until(lambda: desk.backlog_store.backlog.told == 1)
        server.take()
        server.finish("CUDA error: device-side assert triggered\nCompile with ...")
        await server.tell()
        await until(lambda: desk.backlog_store.backlog.told == 0)

    condition = await watcher.condition()

    assert condition is not None
    assert condition.code == "gpu_fault"
    assert "CUDA error: device-side assert triggered" in condition.message
    assert await watcher.condition() is None


async def test_prompts_that_fail_before_the_websocket_is_connected_are_a_condition(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    for number in range(IN_A_ROW):
        server.add(f"p{number}")
        server.take()
        server.finish("CUDA error: device-side assert triggered\nCompile with ...")
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)

    condition = await until_async(watcher.condition)

    assert condition is not None
    assert condition.code == "gpu_fault"


class FloodingServer(QueueServer):
    """Tells of its queue without a pause for as long as its `/ws` is read, by status or by ping."""

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
    """Other tasks get their turn after each portion, however many messages have arrived."""
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
