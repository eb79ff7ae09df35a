"""Reads logs for callers: their last lines, and new output without an end.

Readers read the files rather than the pipes. So a slow or stalled reader delays no other, and uses
only the memory of one read. A reader wakes when the pump reports new output. It reads its file to
the end, even if the file is rotated or removed meanwhile. Output is missing only if later files
were removed meanwhile, and the reader receives a line about that.
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
"""Seconds for one read of a log."""


class LogReader:
    """Reads any log as text, in the form that `text` describes."""

    def __init__(self, pump: LogPump, disk: Executor) -> None:
        """Wake readers when the pump has moved output."""
        self._pump = pump
        self._disk = disk
        self._ended = False
        self._readings: dict[Path, set[_Reading]] = {}

    def close(self) -> None:
        """End every reader once it has received the existing output."""
        self._ended = True
        self._pump.notifier.notify_all()

    def finish(self, log_file: Path) -> None:
        """End the followers of that log once they have received the existing output."""
        for reading in self._readings.get(log_file, ()):
            reading.finished = True
        self._pump.notifier.notify(log_file)

    @asynccontextmanager
    async def history(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Yield the last lines of the present log in their final form; raises OSError."""
        async with self._cursor(log_file) as cursor:
            count = await self._run(partial(cursor.seek_lines, lines), log_file)
            async with aclosing(self._all_of(TailView(cursor, count), log_file)) as pieces:
                yield pieces

    @asynccontextmanager
    async def follow(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        """Yield the last lines and all new output, as a terminal shows it; raises OSError."""
        with self._reading(log_file) as reading:
            async with self._cursor(log_file) as cursor:
                await self._run(partial(cursor.seek_lines, lines), log_file)
                async with aclosing(
                    self._more_of(TerminalView(cursor), log_file, reading)
                ) as pieces:
                    yield pieces

    @asynccontextmanager
    async def news(
        self, log_file: Path, lines: int, after: str
    ) -> AsyncIterator[AsyncIterator[LineBatch]]:
        """Yield whole lines and new output, from the place `after` if that is valid."""
        with self._reading(log_file) as reading:
            async with self._cursor(log_file) as cursor:
                if place := ResumeToken.parse(after):
                    await self._run(partial(cursor.seek_place, place), log_file)
                else:
                    await self._run(partial(cursor.seek_lines, lines), log_file)
                async with aclosing(self._more_of(LineView(cursor), log_file, reading)) as pieces:
                    yield pieces

    @contextmanager
    def _reading(self, log_file: Path) -> Iterator["_Reading"]:
        """Register a follower for the duration, so that `finish` reaches it from the start."""
        reading = _Reading()
        readings = self._readings.setdefault(log_file, set())
        readings.add(reading)
        try:
            yield reading
        finally:
            readings.discard(reading)
            if not readings and self._readings.get(log_file) is readings:
                del self._readings[log_file]

    async def _run(self, work: Callable[[], R], log_file: Path) -> R:
        """Read a log in a thread; raises OSError, also when its volume does not answer."""
        return await self._disk.ask(work, _volume(log_file), PATIENCE)

    @asynccontextmanager
    async def _cursor(self, log_file: Path) -> AsyncIterator[Cursor]:
        cursor = Cursor(LogFiles(log_file), partial(self._pump.offsets, log_file))
        try:
            yield cursor
        finally:
            # A thread may still use the cursor before or after this; no caller need wait. If the
            # volume does not answer, no file was opened, and nothing needs closing.
            if cursor.abandon():
                self._disk.do(cursor.close, _volume(log_file))

    async def _all_of(self, view: View[T], log_file: Path) -> AsyncGenerator[T]:
        while (found := await self._run(view.read, log_file)) is not None:
            yield found

    async def _more_of(
        self, view: View[T], log_file: Path, reading: "_Reading"
    ) -> AsyncGenerator[T]:
        with self._pump.notifier.listen(log_file) as more:
            while True:
                more.clear()
                ended = self._ended or reading.finished
                found = await self._run(view.read, log_file)
                if found is not None:
                    yield found
                elif ended:
                    return
                else:
                    await more.wait()


@dataclass(slots=True, eq=False)
class _Reading:
    """A follower of a log; `finished` once no more output is expected."""

    finished: bool = False


def _volume(log_file: Path) -> str:
    """Return the name of the resource: the logs of one directory are on one volume."""
    return f"the log directory {log_file.parent}"
