"""Ownership of tasks: every task has an owner, which waits for the task with a time limit."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, Protocol, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")

END_PATIENCE: Final = 2.0
"""Seconds for a cancelled task to end."""

AGAIN: Final = 1.0
LONGEST_AGAIN: Final = 60.0
"""Seconds between two attempts after a failure: the first delay, and the longest."""

CANCELLATIONS: Final = 4
"""How often a task is cancelled within that time; library code may lose a cancellation."""


class InThread(Protocol):
    """Runs a function in a thread, as `Executor.submit` of `linux` does."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


async def end_tasks(tasks: Iterable[asyncio.Future[Any]], patience: float = END_PATIENCE) -> bool:
    """Cancel tasks and wait until they have ended, for at most `patience` seconds.

    Returns whether all have ended. A task that keeps running is logged with its stack and
    abandoned, so that it cannot block its owner. Exceptions of ended tasks are left to their
    owners.
    """
    pending = set(tasks)
    for _ in range(CANCELLATIONS if pending else 0):
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=patience / CANCELLATIONS)
        if not pending:
            break
    for task in pending:
        log.error("task.not_ended", **_described(task))
    return not pending


async def keep_going(
    work: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    tell: Callable[[str | None], None] = lambda _sentence: None,
) -> None:
    """Run a loop until it is cancelled, and restart it after an unexpected exception.

    The exception is logged, and `tell` receives a sentence that reports it. `tell` receives None
    after `LONGEST_AGAIN` seconds without an exception. Returns when `work` returns.
    """
    pause = AGAIN
    while True:
        began = time.monotonic()
        fine = asyncio.get_running_loop().call_later(LONGEST_AGAIN, tell, None)
        try:
            await work()
        except Exception:
            log.exception("loop.broke", loop=name)
            tell(f"internal error in {name}, which goes on; see the daemon's log")
        else:
            return
        finally:
            fine.cancel()
        if time.monotonic() - began > LONGEST_AGAIN:
            pause = AGAIN
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_AGAIN)


async def bounded(work: Callable[[], Coroutine[Any, Any, None]], patience: float) -> None:
    """Run one step of a cleanup for at most `patience` seconds.

    An exception of the step is logged and not raised, so that the following steps run.
    """
    step = asyncio.create_task(work(), name=getattr(work, "__qualname__", repr(work)))
    try:
        await asyncio.wait([step], timeout=patience)
    finally:
        if not step.done():
            log.error("cleanup.not_ended", step=step.get_name(), seconds=patience)
            await end_tasks([step])
    if step.done() and not step.cancelled() and (defect := step.exception()):
        log.error("cleanup.failed", step=step.get_name(), exc_info=defect)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in a new event loop as `asyncio.run` does, but end its other tasks with a limit.

    `asyncio.run` waits without limit for a task that ignores its cancellation.
    """
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(end_tasks(asyncio.all_tasks(loop)))
        loop.run_until_complete(bounded(loop.shutdown_asyncgens, END_PATIENCE))
        asyncio.set_event_loop(None)
        loop.close()


class Owner:
    """Owns tasks that run to their end even if no caller waits for them any more."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    async def finish(self, work: Awaitable[T]) -> T:
        """Run `work` and return its result; cancelling the caller does not cancel `work`."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel the running tasks, and wait for their end as `end_tasks` does."""
        await end_tasks(self._tasks)

    def _let_go(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a remaining caller receives the exception from the shield


def _described(task: asyncio.Future[Any]) -> dict[str, str]:
    if not isinstance(task, asyncio.Task):
        return {"task": repr(task)}
    stack = io.StringIO()
    task.print_stack(limit=5, file=stack)
    return {"task": task.get_name(), "stack": stack.getvalue()}
