"""Reading a stream of server-sent events, as strictly as a browser does."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import ClientResponse

from tests.scenarios.waiting import bounded

EVENTS = "/api/comfyui/events"

Get: TypeAlias = Callable[..., AbstractAsyncContextManager[ClientResponse]]
"""The `get` of a session or of a test's client."""


@dataclass(frozen=True)
class Event:
    """One event; `id` is the last one that was seen, as browsers keep it."""

    name: str
    id: int
    data: Any


class Stream:
    """One stream; `comments` are the lines that browsers ignore."""

    def __init__(self, answer: ClientResponse) -> None:
        self.answer = answer
        self.retry: int | None = None
        self.comments: list[str] = []

    async def next(self) -> Event | None:
        """The next event; None at a clean end of the stream."""
        fields: dict[str, str] = {}
        while line := await self._line():
            text = line.rstrip("\r\n")
            name, _, value = text.partition(":")
            if text and not name:
                self.comments.append(value.strip())
            elif text:
                assert name in ("event", "id", "data", "retry"), line
                assert name not in fields, line
                fields[name] = value.removeprefix(" ")
            elif fields:
                self.retry = int(fields.pop("retry", self.retry or 0)) or None
                assert fields.keys() == {"event", "id", "data"}
                return Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
        return None

    async def _line(self) -> str:
        async with bounded():
            return (await self.answer.content.readline()).decode()

    async def take(self, count: int) -> list[Event]:
        events = [await self.next() for _ in range(count)]
        found = [event for event in events if event]
        assert len(found) == count, "the stream ended"
        return found

    async def rest(self) -> list[Event]:
        """Return all events until the end of the stream."""
        found = []
        while event := await self.next():
            found.append(event)
        return found


@asynccontextmanager
async def following(get: Get, *, last: object = None, **query: object) -> AsyncIterator[Stream]:
    """Follow the events for the block; `last` is the id that a browser would send."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with get(EVENTS, headers=headers, params=query) as answer:
        assert answer.status == 200, await answer.text()
        stream = Stream(answer)
        assert await answer.content.readline() == b": comfysup events\n"
        yield stream
