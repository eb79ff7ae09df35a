"""The stream of events of a real daemon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import HANG
from tests.unit.api.streams import Stream, following


@asynccontextmanager
async def events_of(daemon: Daemon, *, last: int | None = None) -> AsyncIterator[Stream]:
    timeout = aiohttp.ClientTimeout(total=HANG)
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{daemon.port}", timeout=timeout) as session,
        following(session.get, last=last) as stream,
    ):
        yield stream
