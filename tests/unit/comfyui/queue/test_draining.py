"""Drains: scenario 39."""

import asyncio

from comfysup.comfyui.queue import backlog_file
from comfysup.model.spec import Rescue
from tests.scenarios.waiting import bounded, until
from tests.unit.comfyui.queue.desk import LIFE, Desk, Serve
from tests.unit.comfyui.queue.server import HastyServer, QueueServer


def drained(desk: Desk) -> list[str]:
    return [each.id for each in desk.backlog_store.backlog.drained]


async def test_the_running_one_finishes_and_the_others_are_kept_for_the_next_process(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b", "c")
    server.take()
    watcher = desk.watch(server.url)
    await until(lambda: desk.waiting == ["b", "c"])

    draining = asyncio.create_task(watcher.drain())
    await until(lambda: not server.waiting)
    assert drained(desk) == ["b", "c"]
    assert not draining.done()
    server.add("late")
    await server.tell()
    await until(lambda: not server.waiting)
    assert not draining.done()
    server.finish()
    await server.tell()

    await draining
    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    assert desk.owed == ["b", "c", "late"]


async def test_prompts_are_saved_before_they_are_withdrawn(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    server.take()
    watcher = desk.watch(server.url)
    draining = asyncio.create_task(watcher.drain())
    await until(lambda: not server.waiting)

    kept = backlog_file.load(desk.path.read_bytes(), LIFE)
    draining.cancel()

    assert kept is not None
    assert [each.id for each in kept.drained] == ["b"]


async def test_a_prompt_that_ran_before_its_withdrawal_is_not_resubmitted(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(HastyServer())
    server.add("quick", "slow")
    watcher = desk.watch(server.url)

    await watcher.drain()

    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    assert desk.owed == ["slow"]


async def test_an_idle_process_is_drained_immediately(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    watcher = desk.watch(server.url)

    async with bounded():
        await watcher.drain()

    assert drained(desk) == []
    assert not server.posts


async def test_a_drain_does_not_submit_owed_prompts(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a"])
    await desk.leave()
    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    server.waiting.clear()

    await desk.watch(server.url).drain()

    assert desk.owed == ["a"]
    assert not server.posts


async def test_prompts_that_cannot_be_saved_are_not_withdrawn(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("runs", "waits")
    server.take()
    watcher = desk.watch(server.url)
    await until(lambda: desk.waiting == ["waits"])
    await desk.backlog_store.kept()
    draft = desk.path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.mkdir()

    draining = asyncio.create_task(watcher.drain())
    await until(lambda: drained(desk) == ["waits"])
    assert not await desk.backlog_store.kept()
    assert server.ids == ["waits"]
    draft.rmdir()
    await until(lambda: not server.waiting)

    draining.cancel()
    await desk.backlog_store.kept()
    kept = backlog_file.load(desk.path.read_bytes(), LIFE)
    assert kept is not None
    assert [each.id for each in kept.drained] == ["waits"]
