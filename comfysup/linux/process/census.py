"""A look at every process there is, which none of them can hold up.

The kernel reads variables and arguments out of the memory of the process, and waits for as long as
that is locked: for ever, where a page is to come from a disk that does not answer. So each process
is looked at by itself, and one that does not answer is passed over.
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
"""Seconds for a look at one process."""

AT_ONCE: Final = 4
"""Processes that are looked at at the same time; so many threads the looks take, and one more for
each process that does not answer."""


async def census(executor: Executor, look: Callable[[int], T | None]) -> dict[int, T]:
    """Return what `look` returns of each process, by pid, without None.

    A process that does not answer in time is named in the log. As long as the process does not
    answer it is among `executor.unanswered`, and so among the troubles of the daemon.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def look_at(pid: int) -> T | None:
        async with room:
            return await look_in_time(executor, pid, look)

    pids = all_pids()
    found = zip(pids, await asyncio.gather(*map(look_at, pids)), strict=True)
    return {pid: each for pid, each in found if each is not None}


async def look_in_time(executor: Executor, pid: int, look: Callable[[int], T | None]) -> T | None:
    """Return what `look` returns of one process; None where the process does not answer in time."""
    try:
        return await executor.ask(partial(look, pid), f"/proc/{pid}", PATIENCE)
    except OSError as error:
        log.error("process.passed_over", pid=pid, name=read_name(pid), error=str(error))  # noqa: TRY400 - no defect
        return None
