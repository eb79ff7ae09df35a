"""The thread that moves what instances write into their logs.

A thread of its own, since logs may lie on a volume that stalls for seconds: it waits there, the
pipes hold a megabyte each meanwhile, and everything else goes on.
"""

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import structlog

from comfysup.system.errand import Errand
from comfysup.system.log_bells import Bells
from comfysup.system.log_files import LogFiles, Rotation
from comfysup.system.log_ledger import Ledger
from comfysup.system.log_writer import LogWriter
from comfysup.system.signals import block_signals
from comfysup.system.tee import Peephole
from comfysup.system.troubles import Report, to_nobody

log = structlog.get_logger()

T = TypeVar("T")

SMALL: Final = 1 << 16
PAUSE: Final = 0.0005
"""A turn that moved less than `SMALL` bytes is followed by so many seconds of rest. Nothing waits
for that: it lets small writes gather, each of which would otherwise be fought for with its writer
(200 MB in writes of 100 bytes took twice as long, and ten times the CPU)."""

AGAIN: Final = 1.0
"""Seconds of quiet after which it is tried again to write to a log that took no bytes."""

LAST_TURN: Final = 1.0
"""Seconds that a thread in the middle of a stalled write is waited for when the daemon ends."""


@dataclass(slots=True)
class Intake:
    """The reading end of a pipe, and where what comes through it goes."""

    reader: int
    log_file: Path
    writer: LogWriter
    broken: bool = False


class LogPump:
    """Moves bytes from any number of pipes into their logs, in one thread; begins in a loop."""

    def __init__(self, rotation: Rotation, report: Report = to_nobody) -> None:
        """Make the thread; `start` lets it run. `report` is called in it."""
        self.bells = Bells()
        self._rotation = rotation
        self._report = report
        self._peephole = Peephole()
        self._epoll = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._errands: SimpleQueue[Errand[Any]] = SimpleQueue()
        self._intakes: dict[int, Intake] = {}
        self._writers: dict[Path, LogWriter] = {}
        self._ended = False
        # A thread that hangs in a volume must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log-pump", daemon=True)

    def start(self) -> None:
        self._epoll.register(self._alarm, select.EPOLLIN)
        self._thread.start()

    async def close(self) -> None:
        """End the thread; what waits in the pipes stays there, for the next daemon."""
        done = self.ask(self._end)
        await asyncio.wait([done], timeout=LAST_TURN)
        if done.done():
            self._thread.join()
            os.close(self._alarm)
        self._alarm = -1

    # ---- what others ask for

    def ask(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have something done in the thread, after all that was asked before; it is done anyway.

        Not possible after `close`.
        """
        errand = Errand(work)
        self._errands.put(errand)
        os.eventfd_write(self._alarm, 1)
        return errand.result

    def dropped_bytes(self, log_file: Path) -> int:
        """Return how many bytes that log did not take since this daemon began."""
        writer = self._writers.get(log_file)
        return writer.dropped_bytes if writer else 0

    def ledger(self, log_file: Path) -> Ledger | None:
        """Return where the files of that log begin; None before this daemon has written to it."""
        writer = self._writers.get(log_file)
        return writer.ledger if writer else None

    # ---- in the thread

    def take_in(self, reader: int, log_file: Path, *, anew: bool) -> None:
        """Move what comes out of `reader`, which is closed in the end by `let_go`.

        `anew`: a process begins, so that nothing of what it writes belongs to an older line.
        """
        writer = self._writers.get(log_file)
        if writer is None:
            writer = LogWriter(LogFiles(log_file), self._rotation, self._peephole, self._report)
            self._writers[log_file] = writer
        if anew:
            writer.begin_line()
        self._intakes[reader] = Intake(reader, log_file, writer)
        self._epoll.register(reader, select.EPOLLIN)

    def drain(self, reader: int, most: int) -> None:
        """Move all that waits, but not what somebody goes on to write meanwhile."""
        intake = self._intakes.get(reader)
        while most > 0 and intake and (moved := self._move(intake)):
            most -= moved

    def let_go(self, reader: int, most: int) -> None:
        """Move what is left and close it; the log is closed when nothing else goes there."""
        self.drain(reader, most)
        self._forget(reader)
        intake = self._intakes.pop(reader, None)
        os.close(reader)
        if intake and all(each.writer is not intake.writer for each in self._intakes.values()):
            intake.writer.close()

    def _run(self) -> None:
        block_signals()
        while not self._ended:
            try:
                self._turn()
            except Exception:
                log.exception("log_pump.broke")
                time.sleep(AGAIN)  # what broke it may do so in each turn
        for intake in self._intakes.values():
            intake.writer.close()
            os.close(intake.reader)
        self._peephole.close()
        self._epoll.close()

    def _turn(self) -> None:
        moved = 0
        refusing = [writer for writer in self._writers.values() if writer.refuses]
        ready = self._epoll.poll(AGAIN if refusing else None)
        if not ready:
            for writer in refusing:
                writer.try_again()
        for fd, _ in ready:
            if fd == self._alarm:
                self._run_errands()
            elif intake := self._intakes.get(fd):
                moved = max(moved, self._move(intake))
        if 0 < moved < SMALL:
            time.sleep(PAUSE)

    def _run_errands(self) -> None:
        for _ in range(os.eventfd_read(self._alarm)):
            self._errands.get().run()

    def _end(self) -> None:
        self._ended = True

    def _move(self, intake: Intake) -> int:
        """Move some of what waits in one pipe; 0 when nothing does."""
        try:
            moved = self._read_away(intake) if intake.broken else intake.writer.move(intake.reader)
        except BlockingIOError:
            return 0
        except Exception:
            log.exception("log_pump.broke", file=str(intake.log_file))
            intake.broken = True  # a log less, but its instance goes on
            return 0
        if moved:
            self.bells.ring(intake.log_file)
        else:
            # The last writer is gone; the reader would be ready for ever.
            self._forget(intake.reader)
        return moved

    def _read_away(self, intake: Intake) -> int:
        return len(os.read(intake.reader, SMALL))

    def _forget(self, reader: int) -> None:
        try:
            self._epoll.unregister(reader)
        except FileNotFoundError:
            return
