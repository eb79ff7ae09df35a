"""Owners end their tasks, including tasks that lose a cancellation."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from comfysup.supervision import tasks as module
from comfysup.supervision.tasks import CANCELLATIONS, Owner, bounded, end_tasks, keep_going, run
from tests.scenarios.waiting import until


async def deaf(cancellations: int) -> None:
    """Loses that many cancellations, as library code may."""
    for _ in range(cancellations):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def begun(cancellations: int) -> asyncio.Task[None]:
    task = asyncio.create_task(deaf(cancellations), name="deaf")
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("lost", range(CANCELLATIONS))
async def test_a_task_that_loses_cancellations_is_cancelled_again(lost: int) -> None:
    task = await begun(lost)

    assert await end_tasks([task], 0.2)
    assert task.cancelled()


async def test_a_task_that_never_ends_is_reported_and_abandoned() -> None:
    task = await begun(CANCELLATIONS)
    with capture_logs() as logs:
        assert not await end_tasks([task], 0.01)

    assert [("task.not_ended", "deaf")] == [(each["event"], each["task"]) for each in logs]
    assert "await asyncio.Event().wait()" in logs[0]["stack"]
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


async def test_a_hanging_step_of_a_cleanup_does_not_delay_the_next() -> None:
    with capture_logs() as logs:
        await bounded(lambda: deaf(1), 0.01)

    assert ["cleanup.not_ended"] == [each["event"] for each in logs]


async def test_a_step_of_a_cleanup_that_fails_is_logged_and_raises_nothing() -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        await bounded(breaks, 10)

    assert ["cleanup.failed"] == [each["event"] for each in logs]


async def test_work_continues_when_its_caller_is_cancelled() -> None:
    go_on, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    owner = Owner()
    caller = asyncio.create_task(owner.finish(work()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    go_on.set()
    await done.wait()

    assert caller.cancelled()


async def test_a_closed_owner_cancels_its_tasks() -> None:
    owner = Owner()
    caller = asyncio.create_task(owner.finish(deaf(1)))
    await asyncio.sleep(0)
    await owner.close()
    await asyncio.wait([caller])

    assert caller.cancelled()


def test_the_loop_ends_although_a_task_does_not() -> None:
    async def main() -> str:
        task = await begun(CANCELLATIONS)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # that is the point
        return "done"

    with capture_logs() as logs:
        assert run(main()) == "done"

    assert "task.not_ended" in [each["event"] for each in logs]


async def test_a_failing_loop_is_reported_and_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.001)
    monkeypatch.setattr(module, "LONGEST_AGAIN", 0.002)
    said: list[str | None] = []
    turns = 0

    async def loop() -> None:
        nonlocal turns
        turns += 1
        if turns < 4:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    with capture_logs() as logs:
        going_on = asyncio.create_task(keep_going(loop, "a loop", said.append))
        await until(lambda: turns == 4 and said[-1] is None)
    assert not going_on.done()
    going_on.cancel()
    await asyncio.wait([going_on])

    assert said.count("internal error in a loop, which goes on; see the daemon's log") == 3
    assert ["loop.broke"] * 3 == [each["event"] for each in logs]
    assert going_on.cancelled()
