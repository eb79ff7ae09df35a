"""Waiting for conditions, never for times."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

HANG = 20.0
"""Seconds after which a condition will not come any more. No rule is in it: those that promise a
time are measured, not waited for."""

T = TypeVar("T")


async def until(condition: Callable[[], T], within: float = HANG) -> T:
    """Returns what the condition says, once that is true."""

    async def ask() -> T:
        return condition()

    return await until_async(ask, within)


async def until_async(condition: Callable[[], Awaitable[T]], within: float = HANG) -> T:
    give_up = time.monotonic() + within
    while not (found := await condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not so after {within:g} s: {found!r}")
        await asyncio.sleep(0.003)
    return found
