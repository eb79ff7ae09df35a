"""Reads every process without being blocked by any of them.

The kernel reads variables and arguments from the memory of the process and waits while that is
locked: forever, if a page must come from a disk that does not answer. So each process is read in
its own call, and one that does not answer is skipped.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from comfysup.linux.executor import Executor
from comfysup.linux.process.proc import all_pids, read_name

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE: Final = 2.0
"""Seconds to wait for one process."""

AT_ONCE: Final = 4
"""Number of processes read concurrently.

Each process that does not answer occupies one more thread.
"""


async def census(executor: Executor, look: Callable[[int], T | None]) -> dict[int, T]:
    """Return what `look` returns for each process, by pid, without None.

    A process that does not answer in time is logged. Until its call returns, `executor.unanswered`
    yields it, so the daemon reports it as a trouble.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def look_at(pid: int) -> T | None:
        async with room:
            return await look_in_time(executor, pid, look)

    pids = all_pids()
    found = zip(pids, await asyncio.gather(*map(look_at, pids)), strict=True)
    return {pid: each for pid, each in found if each is not None}


async def look_in_time(executor: Executor, pid: int, look: Callable[[int], T | None]) -> T | None:
    """Return what `look` returns for one process, or None if it does not answer in time."""
    try:
        return await executor.ask(partial(look, pid), f"/proc/{pid}", PATIENCE)
    except OSError as error:
        log.error("process.passed_over", pid=pid, name=read_name(pid), error=str(error))  # noqa: TRY400 - expected
        return None
