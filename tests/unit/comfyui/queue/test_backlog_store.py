"""The backlog of an instance, and the threads that store it."""

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from comfysup.comfyui.queue import backlog_store as module
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.backlog_store import BacklogStore, BacklogThreads
from comfysup.comfyui.queue.prompts import Prompt
from comfysup.linux.rundir.state_file import StateFile
from tests.scenarios.waiting import bounded, until
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import QueueServer

T = TypeVar("T")


async def test_a_backlog_is_not_kept_before_a_thread_has_written_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that is not on disk must not be withdrawn from a queue."""
    monkeypatch.setattr(module, "AGAIN", 0.01)
    answers = False
    written: list[object] = []

    async def in_thread(work: Callable[[], T]) -> T:
        if not answers:
            raise OSError(errno.ETIMEDOUT, "run directory has not answered for 3 s")
        result = work()
        written.append(result)
        return result

    def ignore(*_news: object) -> None:
        pass

    backlog_store = BacklogStore(
        StateFile(tmp_path / "0.json"),
        "life",
        BacklogThreads(in_thread, asyncio.to_thread),
        ignore,
        ignore,
    )
    backlog_store.belong_to(42)
    async with bounded():
        assert not await backlog_store.kept()

        answers = True
        while not await backlog_store.kept():
            pass

    assert written == [True]


async def test_a_write_to_an_unresponsive_file_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.01)
    silent = iter(range(3))

    async def in_thread(work: Callable[[], T]) -> T:
        if next(silent, None) is not None:
            raise OSError(errno.ETIMEDOUT, "run directory has not answered for 3 s")
        return work()

    def new(threads: BacklogThreads) -> BacklogStore:
        file = StateFile(tmp_path / "0.json")
        return BacklogStore(file, "life", threads, lambda *_: None, lambda *_: None)

    before = new(BacklogThreads(asyncio.to_thread, asyncio.to_thread))
    before.update(Backlog(42, owed=(Prompt(1.0, "a", None),)))
    async with bounded():
        assert await before.kept()

    after = new(BacklogThreads(in_thread, asyncio.to_thread))
    await after.load(time.monotonic() + 3600)

    assert [each.id for each in after.backlog.owed] == ["a"]
    assert not StateFile(tmp_path / "0.json").aside.exists()


async def test_the_pause_between_two_writes_ends_when_the_last_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITING_SHARE", float("inf"))
    writes = asyncio.Semaphore(0)

    async def in_thread(work: Callable[[], T]) -> T:
        await writes.acquire()
        return work()

    backlog_store = BacklogStore(
        StateFile(tmp_path / "0.json"),
        "life",
        BacklogThreads(in_thread, asyncio.to_thread),
        lambda *_: None,
        lambda *_: None,
    )
    backlog_store.update(Backlog(42, owed=(Prompt(1.0, "a", None),)))
    await until(writes.locked)
    backlog_store.update(Backlog(42, owed=(Prompt(1.0, "b", None),)))
    writes.release()
    writes.release()

    async with bounded():
        assert await backlog_store.kept()

    assert b'"b"' in (tmp_path / "0.json").read_bytes()


async def test_a_removed_backlog_file_is_written_again(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("waits")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["waits"])
    assert await desk.backlog_store.kept()
    written = desk.path.read_bytes()

    desk.backlog_store.mend()
    assert await desk.backlog_store.kept()
    desk.path.unlink()
    desk.backlog_store.mend()

    assert await desk.backlog_store.kept()
    assert desk.path.read_bytes() == written


async def test_an_empty_backlog_creates_no_file(desk: Desk) -> None:
    desk.backlog_store.mend()

    assert await desk.backlog_store.kept()
    assert not desk.path.exists()
