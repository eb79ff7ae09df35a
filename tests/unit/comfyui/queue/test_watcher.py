"""When a watcher knows a queue, and how soon."""

from functools import partial

import pytest

from comfysup.comfyui.queue import watcher as queue_module
from comfysup.comfyui.queue.watcher import LOOK_GAP, QueueWatcher, pauses
from comfysup.model.spec import Rescue
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import (
    HeldServer,
    OldServer,
    QueueServer,
)


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


async def test_an_idle_queue_is_not_polled(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    desk.watch(server.url, period=0.01)
    await until(lambda: server.looks)
    looks = server.looks

    for number in range(3):
        server.add(f"p{number}")
        await server.tell()
        await until(partial(knows, desk, number + 1))

    assert server.looks <= looks + 1 + 3


def test_the_pause_between_two_requests_is_bounded_by_the_size_of_the_queue() -> None:
    """It is at most half a second, and does not depend on the duration of a request."""
    assert pauses(0) == (LOOK_GAP, LOOK_GAP)
    assert pauses(1_000_000) == (LOOK_GAP, 0.1)
    assert pauses(20_000_000) == (0.2, 0.5)
    assert pauses(10**9) == (0.5, 0.5)


async def test_a_queue_with_a_depth_other_than_the_known_one_is_unknown(
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


async def test_a_queue_is_unknown_while_its_process_does_not_respond(
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
    """Start a read of the queue that the server delays until it is `free`."""
    looks = server.looks
    server.free.clear()
    watcher.probed(answered=False)
    watcher.probed(answered=True)
    await until(lambda: server.looks > looks)


async def test_a_response_that_precedes_its_messages_is_trusted(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node held the GIL; the delayed response contains changes that are reported later."""
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


async def test_a_burst_of_changes_causes_few_requests(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
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
