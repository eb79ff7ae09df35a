"""The thread that moves the output of instances to their logs.

Logs may be on a volume that stalls for seconds, so a separate thread writes them. The thread waits
for the volume, while each pipe buffers a megabyte and the daemon continues.
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
from comfysup.logs.unreported_losses import UnreportedLosses
from comfysup.logs.writer import LogWriter, PipePeeker

log = structlog.get_logger()

T = TypeVar("T")

SMALL: Final = 1 << 16
PAUSE: Final = 0.0005
"""Seconds to sleep after a turn that moved less than `SMALL` bytes. No reader waits for that. The
pause lets small writes accumulate, because each would otherwise compete with its writer for the
pipe (200 MB in writes of 100 bytes took twice as long, and ten times the CPU)."""

AGAIN: Final = 1.0
"""Seconds without output before a refused write is retried."""

CLOSE_PATIENCE: Final = 1.0
"""Seconds to wait at exit for a thread in the middle of a stalled write."""


@dataclass(slots=True)
class Intake:
    """The reading end of a pipe, and the log of its output."""

    reader: int
    log_file: Path
    writer: LogWriter
    broken: bool = False


class LogPump:
    """Moves bytes from any number of pipes to their logs in one thread; needs an event loop."""

    def __init__(
        self,
        rotation: Rotation,
        report: Report = to_nobody,
        losses: UnreportedLosses | None = None,
    ) -> None:
        """Create the pump; `start` starts its thread, which calls `report` and uses `losses`."""
        self.notifier = Notifier()
        self._rotation = rotation
        self._report = report
        self._losses = losses or UnreportedLosses()
        self._peeker = PipePeeker()
        self._epoll = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._work_items: SimpleQueue[WorkItem[Any]] = SimpleQueue()
        self._intakes: dict[int, Intake] = {}
        self._writers: dict[Path, LogWriter] = {}
        self._tried_at = 0.0
        self._step: tuple[Path, float] | None = None
        self._closed = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._epoll.register(self._alarm, select.EPOLLIN)
        # A thread that hangs in a volume does not prevent the process from exiting.
        self._thread = start_thread(self._run, "log-pump")

    async def close(self) -> None:
        """Stop the thread; unread output stays in the pipes for the next daemon.

        Does nothing on a second call.
        """
        if self._closed:
            return
        done = self.ask(self._end)
        self._closed = True
        await asyncio.wait([done], timeout=CLOSE_PATIENCE)
        if done.done() and self._thread:
            self._thread.join()
            os.close(self._alarm)

    # ---- requests of other threads

    def ask(self, work: Callable[[], T], file: Path | None = None) -> asyncio.Future[T]:
        """Run `work` in the thread after all earlier requests, even if the future is cancelled.

        `stalled` names `file` while the work on it lasts. Raises OSError after `close`.
        """
        if self._closed:
            raise OSError(errno.EBADF, "the log pump is closed")
        item = WorkItem(partial(self._work_on, file, work) if file else work)
        self._work_items.put(item)
        os.eventfd_write(self._alarm, 1)
        return item.result

    def dropped_bytes(self, log_file: Path) -> int:
        """Return the number of bytes that the log has not taken since this daemon started."""
        writer = self._writers.get(log_file)
        return writer.dropped_bytes if writer else 0

    def offsets(self, log_file: Path) -> StreamOffsets | None:
        """Return the offsets of the log's files; None before this daemon has written to the log."""
        writer = self._writers.get(log_file)
        return writer.offsets if writer else None

    def began(self, log_file: Path) -> ResumeToken | None:
        """Return the start of the present process's output in the log, or None."""
        writer = self._writers.get(log_file)
        return writer.began if writer else None

    def stalled(self) -> tuple[Path, float] | None:
        """Return the file that the thread waits for, and the seconds so far; None otherwise."""
        step = self._step
        return (step[0], time.monotonic() - step[1]) if step else None

    def unkillable(self) -> Iterator[str]:
        """Yield the log directory that the thread waits for in a way that SIGKILL cannot end."""
        stalled, thread = self.stalled(), self._thread and self._thread.native_id
        if stalled and stalled[1] > STALLED_AFTER and thread and is_unkillable(thread):
            yield f"the log directory {stalled[0].parent}"

    # ---- in the thread

    def read_tail(self, log_file: Path, lines: int) -> list[str]:
        """Return the last lines of the present process, including those that the file refused."""
        writer = self._writers[log_file]
        with self._at(log_file):
            return read_tail(
                log_file, lines, since=writer.began, offsets=writer.offsets, lost=writer.lost
            )

    def read_head(self, log_file: Path) -> list[str]:
        """Return the first lines of the present process that the file has taken."""
        writer = self._writers[log_file]
        with self._at(log_file):
            return read_head(log_file, since=writer.began, offsets=writer.offsets)

    def mark(self, log_file: Path, most: int) -> ResumeToken | None:
        """Move the unread output of a log, and return its end; None if no process writes there."""
        with self._at(log_file):
            for reader in [fd for fd, each in self._intakes.items() if each.log_file == log_file]:
                self.drain(reader, most)
            writer = self._writers.get(log_file)
            return writer.end() if writer else None

    def lines_with(self, log_file: Path, text: bytes, since: ResumeToken) -> list[str]:
        """Return the lines after a place that contain the text, as `tail.lines_with` does."""
        writer = self._writers.get(log_file)
        if writer is None:
            return []
        with self._at(log_file):
            return lines_with(log_file, text, since=since, offsets=writer.offsets, lost=writer.lost)

    def add_reader(
        self, reader: int, log_file: Path, *, new_line: bool, began: ResumeToken | None
    ) -> None:
        """Start to move the output of `reader`, which `remove_reader` finally closes.

        `new_line` means that the output does not continue an existing line. `began` is the start of
        the process's output in the log; None means here, or unknown.
        """
        writer = self._writers.get(log_file)
        if writer is None:
            writer = LogWriter(
                LogFiles(log_file), self._rotation, self._peeker, self._report, self._losses
            )
            self._writers[log_file] = writer
        with self._at(log_file):
            writer.begin(began, end_line=new_line)
        self._intakes[reader] = Intake(reader, log_file, writer)
        self._epoll.register(reader, select.EPOLLIN)

    def drain(self, reader: int, most: int) -> None:
        """Move the present output, but not output that is written meanwhile."""
        intake = self._intakes.get(reader)
        while most > 0 and intake and (moved := self._move(intake)):
            most -= moved

    def remove_reader(self, reader: int, most: int) -> None:
        """Move the rest and close the reader; close the log once no other pipe uses it."""
        self.drain(reader, most)
        self._forget(reader)
        intake = self._intakes.pop(reader, None)
        os.close(reader)
        if intake and all(each.writer is not intake.writer for each in self._intakes.values()):
            with self._at(intake.log_file):
                intake.writer.close()

    def forget(self, log_file: Path) -> None:
        """Forget a log that no process writes to, and clear its report."""
        if all(each.log_file != log_file for each in self._intakes.values()):
            self._writers.pop(log_file, None)
            self._report(log_file, None)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._turn()
            except Exception:
                log.exception("log_pump.broke")
                time.sleep(AGAIN)  # the failure may repeat in every turn
        for intake in self._intakes.values():
            intake.writer.close()
            os.close(intake.reader)
        self._peeker.close()
        self._epoll.close()

    def _turn(self) -> None:
        moved = 0
        refusing = [writer for writer in self._writers.values() if writer.refuses]
        ready = self._epoll.poll(AGAIN if refusing else None)
        if refusing and time.monotonic() >= self._tried_at + AGAIN:
            for writer in refusing:
                with self._at(writer.path):
                    writer.retry()
            self._tried_at = time.monotonic()
        for fd, _ in ready:
            if fd == self._alarm:
                self._run_work_items()
            elif intake := self._intakes.get(fd):
                moved = max(moved, self._move(intake))
        if 0 < moved < SMALL:
            time.sleep(PAUSE)

    def _run_work_items(self) -> None:
        for _ in range(os.eventfd_read(self._alarm)):
            self._work_items.get().run()

    def _work_on(self, file: Path, work: Callable[[], T]) -> T:
        with self._at(file):
            return work()

    def _end(self) -> None:
        self._ended = True

    def _move(self, intake: Intake) -> int:
        """Move some of the output of one pipe; return 0 if there is none."""
        try:
            with self._at(intake.log_file):
                moved = self._take_from(intake)
        except BlockingIOError:
            return 0
        except Exception:
            log.exception("log_pump.broke", file=str(intake.log_file))
            intake.broken = True  # this log is lost, but its instance keeps running
            return 0
        if moved:
            self.notifier.notify(intake.log_file)
        else:
            # The last writer has closed the pipe; epoll would report the reader for ever.
            self._forget(intake.reader)
        return moved

    def _take_from(self, intake: Intake) -> int:
        if intake.broken:
            return len(os.read(intake.reader, SMALL))
        return intake.writer.move(intake.reader)

    @contextmanager
    def _at(self, log_file: Path) -> Iterator[None]:
        """Record the log that the thread is working on, because its volume may stall.

        Such a step may be part of another one. The time of the outer step restarts after the inner
        one.
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
