"""Reading logs for callers: their last lines, and what comes then, for as long as they like.

Readers read the files, not the pipes: one that is slow or stops holds up nobody, and takes no more
memory than what it read at once. It wakes when the pump says that there is more, and keeps the file
that it reads until its end, also when that is rotated or removed. Only if the next ones were
removed meanwhile something is missing, and the reader is told.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from comfysup.system.disk_threads import DiskThreads
from comfysup.system.log_cursor import Cursor
from comfysup.system.log_files import LogFiles
from comfysup.system.log_place import Place
from comfysup.system.log_pump import LogPump
from comfysup.system.log_views import History, News, Newspaper, Screen, View

T = TypeVar("T")


class LogReader:
    """Reads any log; what it gives is text, as `log_text` says."""

    def __init__(self, pump: LogPump, disk: DiskThreads) -> None:
        """Wake readers when the pump has moved something."""
        self._pump = pump
        self._disk = disk
        self._ended = False

    def close(self) -> None:
        """Let every reader go as soon as it has got what is there."""
        self._ended = True
        self._pump.bells.ring_all()

    @asynccontextmanager
    async def history(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Give the last lines of what is there now, each as it was drawn last; raises OSError."""
        async with self._cursor(log_file) as cursor:
            count = await self._disk.ask(partial(cursor.seek_lines, lines))
            async with aclosing(self._all_of(History(cursor, count))) as pieces:
                yield pieces

    @asynccontextmanager
    async def follow(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Give the last lines and all that comes, as a terminal would show it; raises OSError."""
        async with self._cursor(log_file) as cursor:
            await self._disk.ask(partial(cursor.seek_lines, lines))
            async with aclosing(self._more_of(Screen(cursor), log_file)) as pieces:
                yield pieces

    @asynccontextmanager
    async def news(
        self, log_file: Path, lines: int, after: str
    ) -> AsyncIterator[AsyncIterator[News]]:
        """Give whole lines and all that comes; those behind the place `after`, where it is one."""
        async with self._cursor(log_file) as cursor:
            if place := Place.parse(after):
                await self._disk.ask(partial(cursor.seek_place, place))
            else:
                await self._disk.ask(partial(cursor.seek_lines, lines))
            async with aclosing(self._more_of(Newspaper(cursor), log_file)) as pieces:
                yield pieces

    @asynccontextmanager
    async def _cursor(self, log_file: Path) -> AsyncIterator[Cursor]:
        cursor = Cursor(LogFiles(log_file), partial(self._pump.ledger, log_file))
        try:
            yield cursor
        finally:
            # After whatever a thread still does with it; nobody need wait for that.
            self._disk.do(cursor.close)

    async def _all_of(self, view: View[T]) -> AsyncGenerator[T]:
        while (found := await self._disk.ask(view.look)) is not None:
            yield found

    async def _more_of(self, view: View[T], log_file: Path) -> AsyncGenerator[T]:
        with self._pump.bells.listen(log_file) as more:
            while True:
                more.clear()
                ended = self._ended
                found = await self._disk.ask(view.look)
                if found is not None:
                    yield found
                elif ended:
                    return
                else:
                    await more.wait()
