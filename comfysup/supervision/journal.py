"""A bounded log of recent events with increasing ids, for readers of any speed."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KEPT = 1_000
"""The number of entries kept for readers."""

KEPT_BYTES = 32 << 20
"""The maximum total size of the entries; reached only if each contains the longest log tail."""

PAGE = 32
"""The maximum number of entries per read."""


@dataclass(frozen=True, slots=True)
class Page:
    """The next entries for a reader, which continues at `position`; `missed` entries were dropped.

    `missed` is None when the number is unknown, because the position is of another daemon.
    """

    missed: int | None
    entries: Sequence[bytes]
    position: int


class Journal:
    """Keeps the last entries, already serialized, for any number of readers.

    A reader is only a position: the id of the last entry that it has read. So a reader uses no
    memory here and cannot slow another reader. The ids of one daemon have no gaps.
    """

    def __init__(self, first_id: int, keep: int = KEPT) -> None:
        """Start empty; `first_id` must be greater than all ids of earlier daemons."""
        self._first_id = first_id
        self._next_id = first_id
        self._keep = keep
        self._entries: deque[bytes] = deque()
        self._size = 0
        self._grown = asyncio.Event()
        self._closed = False

    @property
    def newest(self) -> int:
        """The position of a reader that wants only future entries."""
        return self._next_id - 1

    @property
    def beginning(self) -> int:
        """The position of a reader that wants all kept entries of this daemon."""
        return self._first_id - 1

    def append(self, write: Callable[[int], bytes]) -> None:
        """Append the entry that `write` returns for its id; `write` is called once."""
        entry = write(self._next_id)
        self._next_id += 1
        self._entries.append(entry)
        self._size += len(entry)
        while len(self._entries) > self._keep or (self._size > KEPT_BYTES and self._entries):
            self._size -= len(self._entries.popleft())
        self._wake()

    def close(self) -> None:
        """End all readers once they have read the existing entries."""
        self._closed = True
        self._wake()

    async def after(self, position: int) -> Page | None:
        """Wait for and return the entries after `position`; None at the end of a closed journal."""
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
