"""Waiting for conditions, never for times."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

HANG = 120.0
"""Seconds after which a condition will not come any more, on any machine. No rule is in it: a rule
that promises a time is shown by order or by counting, or by the contrast with a policy that is
longer than this."""

NEVER = 3600.0
"""Seconds for a policy whose end a test must not see: what happens before HANG did not wait for
it."""

T = TypeVar("T")


def bounded() -> asyncio.Timeout:
    """Limit a wait without a condition: `async with bounded(): await reply()`."""
    return asyncio.timeout(HANG)


async def until(condition: Callable[[], T], within: float = HANG) -> T:
    """Wait until the condition is true, and return its value."""

    async def ask() -> T:
        return condition()

    return await until_async(ask, within)


async def until_async(condition: Callable[[], Awaitable[T]], within: float = HANG) -> T:
    """Wait until the awaited condition is true, and return its value."""
    give_up = time.monotonic() + within
    while not (found := await condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not so after {within:g} s: {found!r}")
        await asyncio.sleep(0.003)
    return found
