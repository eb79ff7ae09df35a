"""A process spawned too late is never kept, duplicated or abandoned."""

import asyncio
import errno
import gc
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.linux.process import spawn as attempt
from comfysup.linux.process.proc import children_of_thread
from comfysup.linux.process.spawn import Attempt
from tests.scenarios.waiting import HANG, until


class Making:
    """Spawn a `sleep`; a hanging spawn first waits for `answers`."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.made: list[subprocess.Popen[bytes]] = []
        self.undone: list[int] = []
        self.attempt = Attempt(self.make, self.undo)

    def make(self) -> subprocess.Popen[bytes]:
        self.answers.wait()
        self.made.append(subprocess.Popen(["sleep", "3600"]))
        return self.made[-1]

    def undo(self, made: subprocess.Popen[bytes]) -> None:
        made.kill()
        made.wait()
        self.undone.append(made.pid)


@pytest.fixture
async def executor() -> Executor:
    return Executor("attempts")


@pytest.fixture
def making() -> Iterator[Making]:
    one = Making()
    yield one
    one.answers.set()
    for process in one.made:
        process.kill()
        process.wait()


async def test_a_process_spawned_in_time_is_kept(executor: Executor, making: Making) -> None:
    making.answers.set()
    made = await executor.submit(making.attempt.run)

    assert making.attempt.abandon() is made
    assert making.undone == []


async def test_a_process_spawned_after_the_attempt_was_abandoned_is_ended(
    executor: Executor, making: Making
) -> None:
    running = executor.submit(making.attempt.run)
    await until(lambda: making.attempt._thread)
    assert making.attempt.abandon() is None
    making.answers.set()
    with pytest.raises(OSError, match="canceled"):
        await running

    assert making.undone == [making.made[0].pid]


async def test_an_attempt_abandoned_before_it_began_spawns_nothing(
    executor: Executor, making: Making
) -> None:
    assert making.attempt.abandon() is None
    with pytest.raises(OSError, match="canceled"):
        await executor.submit(making.attempt.run)

    assert making.made == []


async def test_a_child_that_has_not_begun_its_program_is_killed(
    executor: Executor, tmp_path: Path
) -> None:
    """Here it hangs in the open of a FIFO, as it would in the directory of a dead mount. An
    earlier child of the same thread is none of this attempt's."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    earlier = Making()
    earlier.answers.set()
    first = await executor.submit(earlier.attempt.run)
    undone: list[int] = []

    def make() -> int:
        return subprocess.run(["cat", fifo], check=False).returncode

    hanging = Attempt(make, undone.append)
    running = executor.submit(hanging.run)
    await until(lambda: hanging._thread and hanging._in_the_making())
    assert hanging.abandon() is None
    with pytest.raises(OSError, match="canceled"):
        await running

    assert undone == [-9]
    assert first.poll() is None
    earlier.undo(first)


async def test_a_cancelled_attempt_leaves_no_unretrieved_exception(
    executor: Executor, making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the daemon lacks the descriptors to search for a child being spawned."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, each: unheard.append(each))
    carrying_out = asyncio.create_task(making.attempt.carry_out(executor, "disk", 3600))
    await until(lambda: making.attempt._thread)

    def look(_thread: int) -> list[int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "children_of_thread", look)
        carrying_out.cancel()
        await asyncio.wait([carrying_out])
        assert isinstance(carrying_out.exception(), OSError)
    making.answers.set()
    await executor.submit(lambda: None, "disk")
    await until(lambda: making.undone)
    await executor.submit(lambda: None, "disk")
    del carrying_out
    gc.collect()

    assert unheard == []


async def test_an_attempt_cancelled_after_the_spawn_returns_the_process(
    executor: Executor, making: Making
) -> None:
    carrying_out = asyncio.create_task(making.attempt.carry_out(executor, "disk", 3600))
    await until(lambda: making.attempt._thread)
    making.answers.set()
    while making.attempt._made is None:  # the loop has no turn in which it could hear of that
        pass
    carrying_out.cancel()

    assert await carrying_out is making.made[0]
    assert making.undone == []


async def test_an_unanswered_attempt_names_the_unresponsive_resource(
    executor: Executor, making: Making
) -> None:
    with pytest.raises(UnresponsiveError, match="the disk has not answered"):
        await making.attempt.carry_out(executor, "the disk", 0.01)
    making.answers.set()
    await until(lambda: making.undone)


async def test_the_main_thread_keeps_the_children_that_it_has(making: Making) -> None:
    making.answers.set()
    made = await asyncio.to_thread(making.attempt.run)

    assert made.pid not in children_of_thread(os.getpid())


async def test_an_attempt_cancelled_during_the_fork_returns_the_process(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output until then is in its log, and no output follows the response."""
    monkeypatch.setattr(attempt, "SETTLING", HANG)
    forks, goes_on = threading.Event(), threading.Event()
    undone: list[str] = []

    def make() -> str:
        forks.set()
        goes_on.wait()
        return "made"

    called_off = asyncio.create_task(
        Attempt(make, undone.append).carry_out(executor, "a disk", HANG)
    )
    await until(forks.is_set)
    called_off.cancel()
    asyncio.get_running_loop().call_later(0.05, goes_on.set)

    assert await called_off == "made"
    assert undone == []


async def test_a_spawn_cancelled_twice_ends_its_process(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second cancellation must not abandon a process."""
    monkeypatch.setattr(attempt, "SETTLING", HANG)
    forks, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def make() -> str:
        forks.set()
        goes_on.wait()
        return "made"

    called_off = asyncio.create_task(
        Attempt(make, lambda _: ended.set()).carry_out(executor, "a disk", HANG)
    )
    await until(forks.is_set)
    called_off.cancel()
    await asyncio.sleep(0)
    called_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await called_off
    goes_on.set()

    await until(ended.is_set)
    assert called_off.cancelled()
