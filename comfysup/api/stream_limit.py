"""Limits on stream readers: their number, since each holds a connection, and their delay."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from aiohttp import web

from comfysup.api.server.errors import ApiError
from comfysup.api.server.request import Call

CROWDED_PATIENCE = 5.0
"""Seconds for which a reader may take nothing while another one waits for a slot."""


class StreamSlot:
    """One reader's slot. `evict` ends its stream."""

    def __init__(self, patience: float, evict: Callable[[], None]) -> None:
        self.evict = evict
        self._patience = patience
        self._blocked_since: float | None = None

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Bound a write; raises `TimeoutError` when the reader took nothing for `patience`."""
        self._blocked_since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._patience):
                yield
        finally:
            self._blocked_since = None

    @property
    def blocked_seconds(self) -> float:
        """Return how long the current write has waited for the reader, in seconds; 0 if none."""
        if self._blocked_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._blocked_since


class StreamLimit:
    """Slots for stream readers, separate for the port and for the socket.

    A reader may keep its slot indefinitely. A reader that reads nothing for `patience` seconds is
    disconnected. If all slots are taken, a new reader gets the slot of the one that has read
    nothing for longest, if that is more than `crowded_patience` seconds.
    """

    def __init__(
        self,
        slots: int,
        patience: float,
        code: str = "too_many_readers",
        crowded_patience: float = CROWDED_PATIENCE,
    ) -> None:
        """Begin with every slot free."""
        self.patience = patience
        self._number = slots
        self._code = code
        self._crowded_patience = crowded_patience
        self._doors: dict[bool, set[StreamSlot]] = {True: set(), False: set()}

    @property
    def taken(self) -> int:
        """Return the number of taken slots."""
        return sum(map(len, self._doors.values()))

    @contextmanager
    def slot(self, call: Call[Any, Any]) -> Iterator[StreamSlot]:
        """Hold a slot in the context. Raises `ApiError` if none is available."""
        slots = self._doors[call.caller.local]
        if len(slots) >= self._number:
            self._make_room(slots)
        slot = StreamSlot(self.patience, partial(drop, call.request))
        slots.add(slot)
        try:
            yield slot
        finally:
            slots.discard(slot)

    def _make_room(self, slots: set[StreamSlot]) -> None:
        slowest = max(slots, key=lambda slot: slot.blocked_seconds)
        if slowest.blocked_seconds < self._crowded_patience:
            detail = f"cannot read: {self._number} readers do so already; try again later"
            raise ApiError(self._code, detail)
        slots.discard(slowest)
        slowest.evict()


def drop(request: web.Request) -> None:
    """Disconnect a reader at once and discard unsent data."""
    if request.transport is not None:
        request.transport.abort()
