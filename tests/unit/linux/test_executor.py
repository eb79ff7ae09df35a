"""An unresponsive resource blocks only its own share of threads."""

import ast
import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import comfysup
from comfysup.linux import executor as executors
from comfysup.linux.executor import Executor, Executors, UnresponsiveError
from comfysup.linux.process.signals import NoThreadError
from tests.scenarios.waiting import bounded, until

DEAD, ALIVE = "/mnt/dead", "/mnt/alive"


@pytest.fixture
def mount() -> Iterator[threading.Event]:
    """A resource that hangs until the event is set."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    one = Executor("test", share=2)
    yield one
    one.shutdown()


def hang(executor: Executor, mount: threading.Event, count: int) -> list[asyncio.Future[bool]]:
    return [executor.submit(mount.wait, DEAD) for _ in range(count)]


async def test_the_future_has_the_result_or_the_exception_of_the_work(executor: Executor) -> None:
    assert await executor.submit(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await executor.submit(lambda: 1 // 0)


async def test_a_hanging_resource_does_not_affect_others(
    executor: Executor, mount: threading.Event
) -> None:
    hanging = hang(executor, mount, 20)

    assert await executor.submit(lambda: "answered", ALIVE) == "answered"
    assert not any(each.done() for each in hanging)


async def test_an_exhausted_share_fails_further_calls_immediately(
    executor: Executor, mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = hang(executor, mount, 2)
    monkeypatch.setattr(executors, "STALLED_AFTER", -1.0)
    before = threading.active_count()
    for _ in range(100):
        with pytest.raises(UnresponsiveError, match="/mnt/dead has not answered for 0 s"):
            await executor.submit(mount.wait, DEAD)

    assert threading.active_count() == before
    assert [resource for resource, _ in executor.unanswered()] == [DEAD]
    mount.set()
    assert await asyncio.gather(*hanging) == [True, True]
    assert await executor.submit(lambda: "answers again", DEAD) == "answers again"
    assert list(executor.unanswered()) == []


async def test_a_call_waits_for_a_thread_of_its_share(
    executor: Executor, mount: threading.Event
) -> None:
    hanging = hang(executor, mount, 5)
    mount.set()

    assert await asyncio.gather(*hanging) == [True] * 5


async def test_a_call_is_abandoned_after_the_timeout_of_the_caller(
    executor: Executor, mount: threading.Event
) -> None:
    with pytest.raises(UnresponsiveError, match="/mnt/dead has not answered for 0 s"):
        await executor.ask(mount.wait, DEAD, 0.01)


async def test_cancelled_work_is_not_started(executor: Executor, mount: threading.Event) -> None:
    hang(executor, mount, 2)
    done: list[str] = []
    executor.submit(lambda: done.append("cancelled"), DEAD).cancel()
    last = executor.submit(lambda: done.append("last"), DEAD)
    mount.set()
    await last

    assert done == ["last"]


async def test_calls_without_a_waiter_run_when_the_resource_answers_again(
    executor: Executor, mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(executor, mount, 2)
    monkeypatch.setattr(executors, "STALLED_AFTER", -1.0)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    executor.do(lambda: 1 // 0, DEAD)
    executor.do(lambda: loop.call_soon_threadsafe(done.set), DEAD)
    mount.set()

    async with bounded():
        await done.wait()
    await until(lambda: not list(executor.unanswered()))
    assert await executor.submit(lambda: 42, DEAD) == 42


async def test_the_number_of_hanging_threads_is_bounded(
    mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "MOST", 3)
    executor = Executor("test", share=1)
    hanging = [executor.submit(mount.wait, f"/mnt/{number}") for number in range(3)]
    with pytest.raises(UnresponsiveError):
        await executor.submit(mount.wait, "/mnt/4")
    mount.set()
    await asyncio.gather(*hanging)

    assert await executor.submit(lambda: 42, "/mnt/5") == 42


async def test_the_threads_leave_signals_to_the_main_thread(executor: Executor) -> None:
    blocked = await executor.submit(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    assert signal.SIGTERM in blocked


async def test_threads_end_after_their_present_call_on_shutdown(
    mount: threading.Event,
) -> None:
    executor = Executor("closing")
    hanging = hang(executor, mount, 1)
    executor.shutdown()
    mount.set()
    give_up = time.monotonic() + 20
    while any(each.name.startswith("closing ") for each in threading.enumerate()):
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)

    assert await hanging[0]


async def test_a_resource_with_an_unkillable_thread_is_listed(
    mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executing another program would wait for it."""
    monkeypatch.setattr(executors, "STALLED_AFTER", -1.0)
    several = Executors()
    answer = several.environments.submit(mount.wait, DEAD)
    await until(lambda: several.environments._shares[DEAD].running[0].thread)
    assert not list(several.unkillable())
    monkeypatch.setattr(executors, "is_unkillable", lambda _thread: True)

    assert list(several.unkillable()) == [DEAD]
    mount.set()
    assert await answer
    assert not list(several.unkillable())
    several.shutdown()


def test_nothing_uses_the_threads_of_the_loop_itself() -> None:
    """They are unbounded, and Python joins them at exit; the linter does not detect the method."""
    sources = sorted(Path(comfysup.__file__).parent.rglob("*.py"))
    users = [
        f"{source.name}:{node.lineno} {node.attr}"
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"run_in_executor", "to_thread"}
    ]

    assert len(sources) > 100
    assert users == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
async def test_no_exception_ends_the_thread_or_the_loop(
    error: type[BaseException],
) -> None:
    executor = Executor("test", share=1)

    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError):
        await executor.submit(fail)

    assert await executor.submit(lambda: 42) == 42
    assert list(executor.unanswered()) == []
    executor.shutdown()


async def test_a_result_is_delayed_but_not_lost_without_memory(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    passing_on = loop.call_soon_threadsafe
    lacking = iter([MemoryError, MemoryError])

    def pass_on(*arguments: Any, **options: Any) -> asyncio.Handle:  # noqa: ANN401 - as it is
        if error := next(lacking, None):
            raise error
        return passing_on(*arguments, **options)

    monkeypatch.setattr(executors, "AGAIN", 0.001)
    monkeypatch.setattr(loop, "call_soon_threadsafe", pass_on)

    assert await executor.submit(lambda: 42) == 42


async def test_the_number_of_waiting_calls_is_bounded(
    executor: Executor, mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "MOST_WAITING", 3)
    hanging = hang(executor, mount, 5)

    with pytest.raises(UnresponsiveError):
        await executor.submit(mount.wait, DEAD)
    mount.set()

    assert await asyncio.gather(*hanging) == [True] * 5


async def test_a_call_fails_if_no_thread_can_be_started(
    executor: Executor, mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_target: object, _name: str) -> None:
        raise NoThreadError

    monkeypatch.setattr(executors, "start_thread", none)
    hang(executor, mount, 2)

    with pytest.raises(NoThreadError, match="cannot start a thread: the limit of processes"):
        await executor.submit(lambda: 42, ALIVE)


async def test_a_computation_waits_for_others_without_a_limit(
    mount: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "STALLED_AFTER", -1.0)
    computing = Executor("computing", share=1, computes=True)
    long = computing.submit(mount.wait, "the parsing of queues")
    waiting = computing.submit(lambda: 42, "the parsing of queues")

    assert not waiting.done()
    mount.set()

    assert (await long, await waiting) == (True, 42)
    computing.shutdown()
