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

from comfysup.system.log_pump import LogPump
from comfysup.system.log_tail import read_tail

T = TypeVar("T")

MAYBE_MORE = "[comfysup: nobody held this output while no daemon ran; lines may be missing here]"

PIPE_BYTES = 1 << 20
"""What may wait in a FIFO; the kernel gives an ordinary user this much for 64 of them."""

PATIENCE = 1.0
"""Seconds that a log which stalls is waited for; what it misses then comes later."""


class LogPipe:
    """One FIFO, and the log that what comes through it is appended to."""

    def __init__(self, fifo: Path, log_file: Path, pump: LogPump, *, anew: bool) -> None:
        """Open a FIFO that is there; raises OSError."""
        self.fifo = fifo
        self._log_file = log_file
        self._pump = pump
        self._reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(PermissionError):  # past the user's limit the kernel's own size must do
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._taken_in = pump.ask(partial(pump.take_in, self._reader, log_file, anew=anew))

    @classmethod
    def create(cls, fifo: Path, log_file: Path, pump: LogPump) -> Self:
        """Make the FIFO anew, for a process that is to begin; raises OSError.

        Nothing waits for the log: where it cannot be written to, the pump says so and goes on.
        """
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
        return cls(fifo, log_file, pump, anew=True)

    @classmethod
    def adopt(cls, fifo: Path, log_file: Path, pump: LogPump) -> Self:
        """Go on with the FIFO of a process that an earlier daemon started; raises OSError.

        What waits in a FIFO is gone with the last who has it open. Where all have ended while no
        daemon ran, nobody knows how much that was, and the log says so.
        """
        held = _is_held(fifo)
        pipe = cls(fifo, log_file, pump, anew=not held)
        if not held:
            os.close(pipe.open_for_instance(MAYBE_MORE))
        return pipe

    @property
    def dropped_bytes(self) -> int:
        """How many bytes the log did not take since this daemon began."""
        return self._pump.dropped_bytes(self._log_file)

    def open_for_instance(self, first_line: str) -> int:
        """Open the end that an instance gets as its stdout; whoever asked closes it.

        `first_line` goes before everything, and the same way.
        """
        end = os.open(self.fifo, os.O_RDWR | os.O_CLOEXEC)
        os.write(end, f"{first_line}\n".encode())
        return end

    async def drain(self) -> None:
        """Wait until all that waits now is in the log, but not for long."""
        await self._wait(self._pump.ask(self._drain))

    async def last_lines(self, count: int, after: str) -> list[str]:
        """Drain it, and return what `read_tail` does of the log; none where that stalls."""

        def drain_and_read() -> list[str]:
            self._drain()
            return read_tail(self._log_file, count, after=after)

        lines = self._pump.ask(drain_and_read)
        await self._wait(lines)
        return lines.result() if lines.done() else []

    def abandon(self) -> None:
        """Forget the FIFO, and have what is left moved."""
        _ = self._let_go()

    async def close(self) -> None:
        """Do so, and wait until what is left is in the log, but not for long."""
        left = self._waiting_bytes()
        moved = self._let_go()
        if left:
            await self._wait(moved)

    def _let_go(self) -> asyncio.Future[None]:
        self.fifo.unlink(missing_ok=True)
        return self._pump.ask(partial(self._pump.let_go, self._reader, PIPE_BYTES))

    def _waiting_bytes(self) -> int:
        """Return how much waits; what splice is moving into the log at this moment still does."""
        count = fcntl.ioctl(self._reader, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def _drain(self) -> None:
        self._pump.drain(self._reader, PIPE_BYTES)

    async def _wait(self, done: asyncio.Future[T]) -> None:
        await asyncio.wait([done], timeout=PATIENCE)


def _is_held(fifo: Path) -> bool:
    """Whether anybody has that FIFO open for reading, as every instance has its own."""
    try:
        end = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    os.close(end)
    return True
