"""The last of what happened, in entries with growing ids, for readers of whatever pace."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KEPT = 1_000
"""Entries that a reader can still come back to."""

KEPT_BYTES = 32 << 20
"""Their size together; it is reached only where every entry brings the longest of log tails."""

PAGE = 32
"""Entries that are read at once."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader gets next: `missed` entries are gone, then come these; read on at `position`.

    `missed` is None where nobody knows: the reader comes from another life of the daemon.
    """

    missed: int | None
    entries: Sequence[bytes]
    position: int


class Journal:
    """Keeps the last entries, as they are to be sent, for any number of readers.

    A reader is nothing but a position, the id of the last entry that it has, so that none costs
    memory here and none can slow another. The ids of one life are without a gap.
    """

    def __init__(self, first_id: int, keep: int = KEPT) -> None:
        """Begin empty; `first_id` must be greater than all ids of earlier lives."""
        self._first_id = first_id
        self._next_id = first_id
        self._keep = keep
        self._entries: deque[bytes] = deque()
        self._size = 0
        self._grown = asyncio.Event()
        self._closed = False

    @property
    def newest(self) -> int:
        """The position of a reader who wants only what comes from now on."""
        return self._next_id - 1

    @property
    def beginning(self) -> int:
        """The position of a reader who wants all of this life, as far as it is kept."""
        return self._first_id - 1

    def append(self, write: Callable[[int], bytes]) -> None:
        """Keep one entry, which `write` makes for its id; once, whatever the number of readers."""
        entry = write(self._next_id)
        self._next_id += 1
        self._entries.append(entry)
        self._size += len(entry)
        while len(self._entries) > self._keep or (self._size > KEPT_BYTES and self._entries):
            self._size -= len(self._entries.popleft())
        self._wake()

    def close(self) -> None:
        """Let every reader come to an end with what is there."""
        self._closed = True
        self._wake()

    async def after(self, position: int) -> Page | None:
        """Return what comes after `position`, waiting for it; None once that is all for good."""
        while position == self.newest:
            if self._closed:
                return None
            await self._grown.wait()
        if position > self.newest:
            return Page(None, (), self.newest)
        oldest = self._next_id - len(self._entries)
        start = max(position + 1, oldest)
        end = min(start + PAGE, self._next_id)
        entries = [self._entries[place - oldest] for place in range(start, end)]
        known = position >= self._first_id - 1
        return Page(start - position - 1 if known else None, entries, end - 1)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
