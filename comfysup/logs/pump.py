"""The thread that moves what instances write into their logs.

A thread of its own, since logs may lie on a volume that stalls for seconds: it waits there, the
pipes hold a megabyte each meanwhile, and everything else goes on.
"""

import asyncio
import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import structlog

from comfysup.linux.conditions import Report, to_nobody
from comfysup.linux.executor import STALLED_AFTER, WorkItem
from comfysup.linux.process.signals import start_thread
from comfysup.linux.process.threads import is_unkillable
from comfysup.logs.files import LogFiles, Rotation
from comfysup.logs.notifier import Notifier
from comfysup.logs.resume_token import ResumeToken, StreamOffsets
from comfysup.logs.tail import lines_with, read_head, read_tail
from comfysup.logs.unreported_losses import UnsaidLosses
from comfysup.logs.writer import LogWriter, PipePeeker

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

    def __init__(
        self,
        rotation: Rotation,
        report: Report = to_nobody,
        losses: UnsaidLosses | None = None,
    ) -> None:
        """Make the thread; `start` lets it run. `report` is called in it, `losses` used there."""
        self.bells = Notifier()
        self._rotation = rotation
        self._report = report
        self._losses = losses or UnsaidLosses()
        self._peephole = PipePeeker()
        self._epoll = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._errands: SimpleQueue[WorkItem[Any]] = SimpleQueue()
        self._intakes: dict[int, Intake] = {}
        self._writers: dict[Path, LogWriter] = {}
        self._tried_at = 0.0
        self._step: tuple[Path, float] | None = None
        self._closed = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._epoll.register(self._alarm, select.EPOLLIN)
        # A thread that hangs in a volume does not keep the process from ending.
        self._thread = start_thread(self._run, "log-pump")

    async def close(self) -> None:
        """End the thread; what waits in the pipes stays there, for the next daemon.

        Does nothing when it has been done.
        """
        if self._closed:
            return
        done = self.ask(self._end)
        self._closed = True
        await asyncio.wait([done], timeout=LAST_TURN)
        if done.done() and self._thread:
            self._thread.join()
            os.close(self._alarm)

    # ---- what others ask for

    def ask(self, work: Callable[[], T], file: Path | None = None) -> asyncio.Future[T]:
        """Have something done in the thread, after all that was asked before; it is done anyway.

        `file` is what `stalled` names while the work on that file lasts. Raises OSError after
        `close`.
        """
        if self._closed:
            raise OSError(errno.EBADF, "the log pump is closed")
        errand = WorkItem(partial(self._work_on, file, work) if file else work)
        self._errands.put(errand)
        os.eventfd_write(self._alarm, 1)
        return errand.result

    def dropped_bytes(self, log_file: Path) -> int:
        """Return how many bytes that log did not take since this daemon began."""
        writer = self._writers.get(log_file)
        return writer.dropped_bytes if writer else 0

    def offsets(self, log_file: Path) -> StreamOffsets | None:
        """Return where the files of that log begin; None before this daemon has written to it."""
        writer = self._writers.get(log_file)
        return writer.offsets if writer else None

    def began(self, log_file: Path) -> ResumeToken | None:
        """Return where in that log the output of the present process begins, where known."""
        writer = self._writers.get(log_file)
        return writer.began if writer else None

    def stalled(self) -> tuple[Path, float] | None:
        """Return the file that the thread waits for, and for how many seconds it has."""
        step = self._step
        return (step[0], time.monotonic() - step[1]) if step else None

    def unkillable(self) -> Iterator[str]:
        """Yield the directory of the log for which the thread waits so that no SIGKILL ends it."""
        stalled, thread = self.stalled(), self._thread and self._thread.native_id
        if stalled and stalled[1] > STALLED_AFTER and thread and is_unkillable(thread):
            yield f"the log directory {stalled[0].parent}"

    # ---- in the thread

    def read_tail(self, log_file: Path, lines: int) -> list[str]:
        """Return the last lines of the present process, those included that the file refused."""
        writer = self._writers[log_file]
        with self._at(log_file):
            return read_tail(
                log_file, lines, since=writer.began, offsets=writer.offsets, lost=writer.lost
            )

    def read_head(self, log_file: Path) -> list[str]:
        """Return the first lines of the present process, as far as the file has taken them."""
        writer = self._writers[log_file]
        with self._at(log_file):
            return read_head(log_file, since=writer.began, offsets=writer.offsets)

    def mark(self, log_file: Path, most: int) -> ResumeToken | None:
        """Move all that waits for a log, and return its end; None where no process writes there."""
        with self._at(log_file):
            for reader in [fd for fd, each in self._intakes.items() if each.log_file == log_file]:
                self.drain(reader, most)
            writer = self._writers.get(log_file)
            return writer.end() if writer else None

    def lines_with(self, log_file: Path, text: bytes, since: ResumeToken) -> list[str]:
        """Return the lines behind a place that hold the text, as `log_tail.lines_with` does."""
        writer = self._writers.get(log_file)
        if writer is None:
            return []
        with self._at(log_file):
            return lines_with(log_file, text, since=since, offsets=writer.offsets, lost=writer.lost)

    def take_in(
        self, reader: int, log_file: Path, *, anew: bool, began: ResumeToken | None
    ) -> None:
        """Move what comes out of `reader`, which is closed in the end by `let_go`.

        `anew`: nothing of what comes belongs to an older line. `began` is where in the log the
        output of the process began; None: it begins now, or nobody knows.
        """
        writer = self._writers.get(log_file)
        if writer is None:
            writer = LogWriter(
                LogFiles(log_file), self._rotation, self._peephole, self._report, self._losses
            )
            self._writers[log_file] = writer
        with self._at(log_file):
            writer.begin(began, end_line=anew)
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
            with self._at(intake.log_file):
                intake.writer.close()

    def forget(self, log_file: Path) -> None:
        """Know nothing more of a log to which nobody writes; it is in no trouble then."""
        if all(each.log_file != log_file for each in self._intakes.values()):
            self._writers.pop(log_file, None)
            self._report(log_file, None)

    def _run(self) -> None:
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
        if refusing and time.monotonic() >= self._tried_at + AGAIN:
            for writer in refusing:
                with self._at(writer.path):
                    writer.try_again()
            self._tried_at = time.monotonic()
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

    def _work_on(self, file: Path, work: Callable[[], T]) -> T:
        with self._at(file):
            return work()

    def _end(self) -> None:
        self._ended = True

    def _move(self, intake: Intake) -> int:
        """Move some of what waits in one pipe; 0 when nothing does."""
        try:
            with self._at(intake.log_file):
                moved = self._take_from(intake)
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

    def _take_from(self, intake: Intake) -> int:
        if intake.broken:
            return len(os.read(intake.reader, SMALL))
        return intake.writer.move(intake.reader)

    @contextmanager
    def _at(self, log_file: Path) -> Iterator[None]:
        """Have known meanwhile which log the thread is busy with: its volume may stall.

        Such a step may be part of another one, whose time begins anew when the part is done.
        """
        whole = self._step
        self._step = (log_file, time.monotonic())
        try:
            yield
        finally:
            self._step = (whole[0], time.monotonic()) if whole else None

    def _forget(self, reader: int) -> None:
        try:
            self._epoll.unregister(reader)
        except FileNotFoundError:
            return
