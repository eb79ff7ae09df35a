"""Reading logs for callers: their last lines, and what comes then, for as long as they like.

Readers read the files, not the pipes: one that is slow or stops holds up nobody, and takes no more
memory than what it read at once. It wakes when the pump says that there is more, and keeps the file
that it reads until its end, also when that is rotated or removed. Only if the next ones were
removed meanwhile something is missing, and the reader is told.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from comfysup.linux.executor import Executor
from comfysup.logs.cursor import Cursor
from comfysup.logs.files import LogFiles
from comfysup.logs.pump import LogPump
from comfysup.logs.resume_token import ResumeToken
from comfysup.logs.views import LineView, TailView, TerminalView, View
from comfysup.model.observed import LineBatch

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 10.0
"""Seconds for one look at a log."""


class LogReader:
    """Reads any log; what it gives is text, as `log_text` says."""

    def __init__(self, pump: LogPump, disk: Executor) -> None:
        """Wake readers when the pump has moved something."""
        self._pump = pump
        self._disk = disk
        self._ended = False
        self._readings: dict[Path, set[_Reading]] = {}

    def close(self) -> None:
        """Let every reader go as soon as it has got what is there."""
        self._ended = True
        self._pump.bells.ring_all()

    def finish(self, log_file: Path) -> None:
        """Let those who follow that log now go as soon as they have got what is there."""
        for reading in self._readings.get(log_file, ()):
            reading.finished = True
        self._pump.bells.ring(log_file)

    @asynccontextmanager
    async def history(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Give the last lines of what is there now, each as it was drawn last; raises OSError."""
        async with self._cursor(log_file) as cursor:
            count = await self._look(partial(cursor.seek_lines, lines), log_file)
            async with aclosing(self._all_of(TailView(cursor, count), log_file)) as pieces:
                yield pieces

    @asynccontextmanager
    async def follow(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Give the last lines and all that comes, as a terminal would show it; raises OSError."""
        with self._reading(log_file) as reading:
            async with self._cursor(log_file) as cursor:
                await self._look(partial(cursor.seek_lines, lines), log_file)
                async with aclosing(
                    self._more_of(TerminalView(cursor), log_file, reading)
                ) as pieces:
                    yield pieces

    @asynccontextmanager
    async def news(
        self, log_file: Path, lines: int, after: str
    ) -> AsyncIterator[AsyncIterator[LineBatch]]:
        """Give whole lines and all that comes; those behind the place `after`, where it is one."""
        with self._reading(log_file) as reading:
            async with self._cursor(log_file) as cursor:
                if place := ResumeToken.parse(after):
                    await self._look(partial(cursor.seek_place, place), log_file)
                else:
                    await self._look(partial(cursor.seek_lines, lines), log_file)
                async with aclosing(self._more_of(LineView(cursor), log_file, reading)) as pieces:
                    yield pieces

    @contextmanager
    def _reading(self, log_file: Path) -> Iterator["_Reading"]:
        """Follow a log meanwhile; `finish` counts from the very beginning."""
        reading = _Reading()
        readings = self._readings.setdefault(log_file, set())
        readings.add(reading)
        try:
            yield reading
        finally:
            readings.discard(reading)
            if not readings and self._readings.get(log_file) is readings:
                del self._readings[log_file]

    async def _look(self, look: Callable[[], R], log_file: Path) -> R:
        """Look at a log in a thread; raises OSError, also where its volume does not answer."""
        return await self._disk.ask(look, _volume(log_file), PATIENCE)

    @asynccontextmanager
    async def _cursor(self, log_file: Path) -> AsyncIterator[Cursor]:
        cursor = Cursor(LogFiles(log_file), partial(self._pump.offsets, log_file))
        try:
            yield cursor
        finally:
            # Before or after what a thread may still do with it; nobody need wait for that. Where
            # the volume does not answer nothing was opened, and nothing is left to wait for it.
            if cursor.abandon():
                self._disk.do(cursor.close, _volume(log_file))

    async def _all_of(self, view: View[T], log_file: Path) -> AsyncGenerator[T]:
        while (found := await self._look(view.look, log_file)) is not None:
            yield found

    async def _more_of(
        self, view: View[T], log_file: Path, reading: "_Reading"
    ) -> AsyncGenerator[T]:
        with self._pump.bells.listen(log_file) as more:
            while True:
                more.clear()
                ended = self._ended or reading.finished
                found = await self._look(view.look, log_file)
                if found is not None:
                    yield found
                elif ended:
                    return
                else:
                    await more.wait()


@dataclass(slots=True, eq=False)
class _Reading:
    """One who follows a log; `finished` once nothing more is to come."""

    finished: bool = False


def _volume(log_file: Path) -> str:
    """Name what must answer: the logs of one directory lie on one volume."""
    return f"the log directory {log_file.parent}"
