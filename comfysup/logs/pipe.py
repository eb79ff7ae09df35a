"""From an instance's stdout and stderr into its log file, without passing through this process.

A FIFO of the run directory takes what the instance writes; the pump moves it into the file. The
instance opens the FIFO for reading too, so that it never gets SIGPIPE while no daemon runs, and the
next daemon opens it by its path and goes on.
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
"""What may wait in a FIFO; the kernel gives an ordinary user this much for 64 of them."""

PATIENCE = 1.0
"""Seconds that a log which stalls is waited for; what it misses then comes later."""


class LogPipe:
    """One FIFO, and the log that what comes through it is appended to."""

    def __init__(
        self,
        fifo: Path,
        log_file: Path,
        pump: LogPump,
        reader: int,
        *,
        anew: bool,
        began: ResumeToken | None = None,
    ) -> None:
        """Take over the reading end of a FIFO, as `open_reader` and `make_fifo` return it."""
        self.fifo = fifo
        self._log_file = log_file
        self._pump = pump
        self._reader = reader
        self._began = began
        self._moved: asyncio.Future[None] | None = None  # set when it is let go of
        take_in = partial(pump.take_in, self._reader, log_file, anew=anew, began=began)
        self._taken_in = pump.ask(take_in)

    @classmethod
    def create(cls, fifo: Path, log_file: Path, pump: LogPump, began: str = "") -> Self:
        """Make the FIFO anew, for a process that is to begin; raises OSError.

        `began` as in `adopt`, for one whose FIFO is gone.

        Nothing waits for the log: where it cannot be written to, the pump says so and goes on.
        """
        return cls(fifo, log_file, pump, make_fifo(fifo), anew=True, began=ResumeToken.parse(began))

    @classmethod
    def adopt(
        cls, fifo: Path, log_file: Path, pump: LogPump, began: str = "", source: Path | None = None
    ) -> Self:
        """Go on with the FIFO of a process that an earlier daemon started; raises OSError.

        `source` is another path to it, for one whose own path somebody has removed.

        `began` is what `began` was then. Empty where nobody knows: then only what the process
        writes from now on is taken for its own.

        What waits in a FIFO is gone with the last who has it open. Where all have ended while no
        daemon ran, nobody knows how much that was, and the log says so.
        """
        reader, held = open_left(source or fifo)
        pipe = cls(fifo, log_file, pump, reader, anew=not held, began=ResumeToken.parse(began))
        if not held:
            os.close(pipe.open_for_instance(MAYBE_MORE))
        return pipe

    @property
    def began(self) -> str:
        """Where the output of the process begins in the log; empty while that is not known."""
        # Until the pump has taken this pipe in, what it knows is of the process before.
        place = self._pump.began(self._log_file) if self._taken_in.done() else self._began
        return str(place) if place else ""

    async def begun(self) -> None:
        """Wait until `began` is known, but not for long: a log that stalls does not tell."""
        await self._wait(self._taken_in)

    @property
    def dropped_bytes(self) -> int:
        """How many bytes the log did not take since this daemon began."""
        return self._pump.dropped_bytes(self._log_file)

    def open_for_instance(self, first_line: str) -> int:
        """Do as the function of that name does."""
        return open_for_instance(self.fifo, first_line)

    async def drain(self) -> None:
        """Wait until all that waits now is in the log, but not for long."""
        await self._wait(self._pump.ask(self._drain))

    async def last_lines(self, count: int) -> list[str] | None:
        """Drain it, and return the last lines of the process; None where the log stalls.

        Lines that the log refused are among them, lines of an earlier process are not.
        """

        def drain_and_read() -> list[str]:
            self._drain()
            return self._pump.read_tail(self._log_file, count)

        return await self._in_time(self._pump.ask(drain_and_read))

    async def first_lines(self) -> list[str]:
        """Drain it, and return the first lines of the process; none where the log stalls."""

        def drain_and_read() -> list[str]:
            self._drain()
            return self._pump.read_head(self._log_file)

        return await self._in_time(self._pump.ask(drain_and_read)) or []

    def abandon(self) -> None:
        """Have what is left moved, and the FIFO removed."""
        _ = self._let_go()

    async def close(self) -> None:
        """Do so, and wait until what is left is in the log, but not for long; may be repeated."""
        left = self._waiting_bytes() if self._moved is None else 0
        moved = self._let_go()
        if left:
            await self._wait(moved)

    def _let_go(self) -> asyncio.Future[None]:
        if self._moved is None:
            if not self._waiting_bytes():
                self._remove()
            self._moved = self._pump.ask(self._move_the_rest)
        return self._moved

    def _move_the_rest(self) -> None:
        """Remove the FIFO last: by its name the next daemon knows that something may be missing."""
        self._pump.drain(self._reader, PIPE_BYTES)
        self._remove()
        self._pump.let_go(self._reader, PIPE_BYTES)

    def _remove(self) -> None:
        """Remove the FIFO, unless another one has its name by now."""
        try:
            if os.path.samestat(os.fstat(self._reader), self.fifo.lstat()):
                self.fifo.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:  # one that is left over hinders nobody
            log.warning("fifo.not_removed", fifo=str(self.fifo), error=str(error))

    def _waiting_bytes(self) -> int:
        """Return how much waits; what splice is moving into the log at this moment still does."""
        count = fcntl.ioctl(self._reader, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def _drain(self) -> None:
        if self._moved is None:  # else another pipe may have the number of the reader
            self._pump.drain(self._reader, PIPE_BYTES)

    async def _wait(self, done: asyncio.Future[T]) -> None:
        await asyncio.wait([done], timeout=PATIENCE)

    async def _in_time(self, done: asyncio.Future[T]) -> T | None:
        await self._wait(done)
        return done.result() if done.done() else None


def make_fifo(fifo: Path) -> int:
    """Make a FIFO anew, and return its reading end; raises OSError."""
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    return open_reader(fifo)


def open_reader(fifo: Path) -> int:
    """Open the reading end of a FIFO that is there; raises OSError."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with suppress(OSError):  # past the user's limit the kernel's own size must do
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader


def open_for_instance(fifo: Path, first_line: str) -> int:
    """Open the end that an instance gets as its stdout; whoever asked closes it.

    `first_line` goes before everything, and the same way.
    """
    end = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    os.write(end, f"{first_line}\n".encode())
    return end


def open_left(fifo: Path) -> tuple[int, bool]:
    """Open the reading end of a FIFO that an earlier daemon left; raises OSError.

    Returns also whether anybody had it open, as every instance has its own: else what waited in it
    is gone.
    """
    held = hold(fifo)
    if held is not None:
        return held, True
    return open_reader(fifo), False


def hold(fifo: Path) -> int | None:
    """Open the reading end of a FIFO that somebody has open; None where nobody has.

    What waits in it stays there from the moment in which that was found. Raises OSError.
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
