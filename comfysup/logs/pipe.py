"""Carries an instance's stdout and stderr to its log file without passing through this process.

The instance writes to a FIFO of the run directory, and the pump moves the bytes to the file. The
instance also opens the FIFO for reading, so it gets no SIGPIPE while no daemon runs. The next
daemon opens the FIFO by its path.
"""

import asyncio
import errno
import fcntl
import os
import sys
import termios
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import structlog

from comfysup.logs.pump import LogPump
from comfysup.logs.resume_token import ResumeToken

log = structlog.get_logger()

T = TypeVar("T")

MAYBE_MORE = "[comfysup: the process exited while the daemon was down; output may be missing]"

PIPE_BYTES = 1 << 20
"""The capacity of a FIFO in bytes; the kernel grants an ordinary user 64 of that size."""

PATIENCE = 1.0
"""Seconds to wait for a stalled log; its remaining output is written later."""


class LogPipe:
    """One FIFO, and the log to which its output is appended."""

    def __init__(
        self,
        fifo: Path,
        log_file: Path,
        pump: LogPump,
        reader: int,
        *,
        new_line: bool,
        began: ResumeToken | None = None,
    ) -> None:
        """Take the reading end of a FIFO, as returned by `open_reader` or `make_fifo`."""
        self.fifo = fifo
        self._log_file = log_file
        self._pump = pump
        self._reader = reader
        self._began = began
        self._moved: asyncio.Future[None] | None = None  # set once the pipe is released
        add = partial(pump.add_reader, self._reader, log_file, new_line=new_line, began=began)
        self._added = pump.ask(add)

    @classmethod
    def create(cls, fifo: Path, log_file: Path, pump: LogPump, began: str = "") -> Self:
        """Create the FIFO for a process that is about to start; raises OSError.

        `began` as in `adopt`, for a process whose FIFO is gone.

        Does not wait for the log. If the log cannot be written, the pump reports that and
        continues.
        """
        return cls(
            fifo, log_file, pump, make_fifo(fifo), new_line=True, began=ResumeToken.parse(began)
        )

    @classmethod
    def adopt(
        cls, fifo: Path, log_file: Path, pump: LogPump, began: str = "", source: Path | None = None
    ) -> Self:
        """Open the FIFO of a process that an earlier daemon started; raises OSError.

        `source` is another path to the FIFO, for a FIFO whose own path has been removed.

        `began` is the earlier value of the property. If it is empty, only output from now on counts
        as the process's own.

        Unread output is lost when the last process closes the FIFO. If all have exited while no
        daemon ran, the amount is unknown, and a line in the log says so.
        """
        reader, held = open_left(source or fifo)
        pipe = cls(fifo, log_file, pump, reader, new_line=not held, began=ResumeToken.parse(began))
        if not held:
            os.close(pipe.open_for_instance(MAYBE_MORE))
        return pipe

    @property
    def began(self) -> str:
        """The start of the process's output in the log; empty while unknown."""
        # Until the pump has added this pipe, its value is that of the previous process.
        place = self._pump.began(self._log_file) if self._added.done() else self._began
        return str(place) if place else ""

    async def begun(self) -> None:
        """Wait until `began` is known, at most `PATIENCE` seconds."""
        await self._wait(self._added)

    @property
    def dropped_bytes(self) -> int:
        """The number of bytes that the log has not taken since this daemon started."""
        return self._pump.dropped_bytes(self._log_file)

    def open_for_instance(self, first_line: str) -> int:
        """Call the module's `open_for_instance` for this FIFO."""
        return open_for_instance(self.fifo, first_line)

    async def drain(self) -> None:
        """Wait until all present output is in the log, at most `PATIENCE` seconds."""
        await self._wait(self._pump.ask(self._drain))

    async def last_lines(self, count: int) -> list[str] | None:
        """Drain the pipe, and return the last lines of the process; None if the log stalls.

        Includes lines that the log refused, and excludes lines of an earlier process.
        """

        def drain_and_read() -> list[str]:
            self._drain()
            return self._pump.read_tail(self._log_file, count)

        return await self._in_time(self._pump.ask(drain_and_read))

    async def first_lines(self) -> list[str]:
        """Drain the pipe, and return the first lines of the process; empty if the log stalls."""

        def drain_and_read() -> list[str]:
            self._drain()
            return self._pump.read_head(self._log_file)

        return await self._in_time(self._pump.ask(drain_and_read)) or []

    def abandon(self) -> None:
        """Move the remaining output and remove the FIFO, without waiting."""
        _ = self._release()

    async def close(self) -> None:
        """Abandon the pipe, and wait at most `PATIENCE` seconds for the output; may be repeated."""
        left = self._waiting_bytes() if self._moved is None else 0
        moved = self._release()
        if left:
            await self._wait(moved)

    def _release(self) -> asyncio.Future[None]:
        if self._moved is None:
            if not self._waiting_bytes():
                self._remove()
            self._moved = self._pump.ask(self._move_the_rest)
        return self._moved

    def _move_the_rest(self) -> None:
        """Remove the FIFO last: its name tells the next daemon that output may be missing."""
        self._pump.drain(self._reader, PIPE_BYTES)
        self._remove()
        self._pump.remove_reader(self._reader, PIPE_BYTES)

    def _remove(self) -> None:
        """Remove the FIFO, unless its path belongs to another FIFO now."""
        try:
            if os.path.samestat(os.fstat(self._reader), self.fifo.lstat()):
                self.fifo.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:  # a remaining FIFO is harmless
            log.warning("fifo.not_removed", fifo=str(self.fifo), error=str(error))

    def _waiting_bytes(self) -> int:
        """Return the number of unread bytes, including those that splice is moving now."""
        count = fcntl.ioctl(self._reader, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def _drain(self) -> None:
        if self._moved is None:  # else another pipe may have the same descriptor
            self._pump.drain(self._reader, PIPE_BYTES)

    async def _wait(self, done: asyncio.Future[T]) -> None:
        await asyncio.wait([done], timeout=PATIENCE)

    async def _in_time(self, done: asyncio.Future[T]) -> T | None:
        await self._wait(done)
        return done.result() if done.done() else None


def make_fifo(fifo: Path) -> int:
    """Replace the FIFO by a new one, and return its reading end; raises OSError."""
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    return open_reader(fifo)


def open_reader(fifo: Path) -> int:
    """Open the reading end of an existing FIFO; raises OSError."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with suppress(OSError):  # beyond the user's limit the kernel's default size applies
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader


def open_for_instance(fifo: Path, first_line: str) -> int:
    """Open the end that an instance gets as its stdout; the caller closes it.

    `first_line` is written to it first.
    """
    end = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    os.write(end, f"{first_line}\n".encode())
    return end


def open_left(fifo: Path) -> tuple[int, bool]:
    """Open the reading end of a FIFO that an earlier daemon left; raises OSError.

    Also returns whether a process had the FIFO open, as every instance does. If not, its unread
    output is lost.
    """
    held = hold(fifo)
    if held is not None:
        return held, True
    return open_reader(fifo), False


def hold(fifo: Path) -> int | None:
    """Open the reading end of a FIFO that a process has open; None if no process has.

    The unread output is preserved from that moment on. Raises OSError.
    """
    try:
        keeping = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
    try:
        return open_reader(fifo)
    finally:
        os.close(keeping)
