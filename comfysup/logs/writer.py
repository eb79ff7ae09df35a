"""Writes one log: from a pipe to its newest file, with rotation, without blocking the instance.

`splice(2)` moves the bytes inside the kernel, which removes them from the pipe and adds them to the
file in one step. So a SIGKILL at any instruction neither loses nor repeats a byte, and the size of
the file is the exact position. Near the end of a file `tee(2)` finds the next line end without
removing bytes (`os` does not have tee(2)). Only if a file system refuses splice do bytes pass
through this process, where a kill may lose some.
"""

import ctypes
import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from comfysup.linux.conditions import Report, to_nobody
from comfysup.linux.rundir.own_files import create_own, foreign_owner, open_own
from comfysup.logs.files import LINE_BYTES, LogFiles, Rotation
from comfysup.logs.resume_token import ResumeToken, StreamOffsets
from comfysup.logs.unreported_losses import UnreportedLosses

log = structlog.get_logger()


SPLICE_F_NONBLOCK = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
_libc.tee.restype = ctypes.c_ssize_t


class PipePeeker:
    """A pipe that receives copies of another pipe's bytes; empty between two calls."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def peek(self, pipe: int, count: int) -> bytes:
        """Return up to `count` of the unread bytes of a pipe, without removing them.

        Empty if no writer is left; raises BlockingIOError when nothing is unread.
        """
        copied = _libc.tee(pipe, self._writer, count, SPLICE_F_NONBLOCK)
        if copied < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return os.read(self._reader, copied) if copied else b""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


AT_ONCE: Final = 1 << 20
COPIED_AT_ONCE: Final = 1 << 16
"""The maximum bytes per step: by splice, and through this process."""

NO_SPLICE: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}

LOST_BYTES: Final = 1 << 15
"""The maximum bytes kept of refused output: the last lines of a process whose disk is full."""

CHECK_EVERY: Final = 1.0
"""Seconds between two checks whether the file has been removed."""


class LogWriter:
    """One log, written to by one thread.

    A file that refuses bytes never blocks the instance: the bytes are dropped and counted, and the
    count is written once the file takes bytes again. `dropped_bytes` counts since creation.

    `began` is the start of the present process's output, or None before the file has taken any.
    `lost` is the end of the output refused since the file last took bytes.
    """

    def __init__(
        self,
        files: LogFiles,
        rotation: Rotation,
        peeker: PipePeeker,
        report: Report = to_nobody,
        losses: UnreportedLosses | None = None,
    ) -> None:
        """Open nothing yet; `report` is called when the file refuses bytes, and when it recovers.

        `losses` states whether an earlier writer dropped bytes, and stores the losses of this one.
        """
        self.dropped_bytes = 0
        self.began: ResumeToken | None = None
        self.lost = b""
        self.offsets = StreamOffsets()
        self._files = files
        self._rotation = rotation
        self._soft = rotation.soft
        self._peeker = peeker
        self._log = -1
        self._inode = 0
        self._next_begin: int | None = None  # in the terms of `StreamOffsets`, of the next file
        self._splices = True
        self._report = report
        self._losses = losses or UnreportedLosses()
        self._unreported_bytes = 0
        self._refuses = False
        self._checked_at = 0.0

    def begin(self, began: ResumeToken | None, *, end_line: bool) -> None:
        """Start the output of another process, at the place `began`; None means here.

        `end_line` terminates an unfinished line of an earlier process.
        """
        self.began, self.lost = began, b""
        try:
            size = self._ready()
            if end_line:
                self._end_line(size)
            self.began = began or self._end()
        except OSError as error:
            self._refuse(error)

    def move(self, pipe: int) -> int:
        """Move some output of a pipe, and return the number of bytes; 0 if no writer is left.

        Raises BlockingIOError when nothing is unread.
        """
        try:
            return self._take(pipe, self._ready())
        except BlockingIOError:
            raise
        except OSError as error:
            self._refuse(error)
            return self._drop(pipe)

    @property
    def path(self) -> Path:
        """The path of the log."""
        return self._files.path

    @property
    def refuses(self) -> bool:
        """Whether the file refused bytes at the last attempt."""
        return self._refuses

    def retry(self) -> None:
        """Check whether the file takes bytes again, even without new output."""
        try:
            self._ready()
        except OSError as error:
            self._refuse(error)

    def end(self) -> ResumeToken | None:
        """Return the place after the last byte; None if the file cannot be opened."""
        try:
            self._ready()
            return self._end()
        except OSError as error:
            self._refuse(error)
            return None

    def close(self) -> None:
        """Close the file; the next byte opens it again.

        Errors of close(2) are ignored. They may report bytes that did not reach a remote disk, but
        the file is closed in any case.
        """
        log_file, self._log = self._log, -1
        if log_file >= 0:
            with suppress(OSError):
                os.close(log_file)

    # ---- the file

    def _ready(self) -> int:
        """Open the file, write pending reports, and return its size."""
        if self._log >= 0 and self._was_replaced():
            self._leave_file()
        if self._log < 0:
            self._open()
        if self.began is None:
            self.began = self._end()
        if self._unreported_bytes or self._files.path in self._losses:
            self._report_dropped()
        if self._refuses:
            self._refuses = False
            self.lost = b""
            self._report(self._files.path, None)
        return os.lseek(self._log, 0, os.SEEK_END)

    def _end(self) -> ResumeToken:
        """Return the place after the last byte."""
        size = os.lseek(self._log, 0, os.SEEK_END)
        begin = self.offsets.begin(self._inode) or 0
        return ResumeToken.at(self._log, size, self.offsets.life, begin)

    def _open(self) -> None:
        if self._next_begin is None:
            self._next_begin = self.offsets.survey(self._files)
            self._check_owner()
        try:
            self._log = open_own(self._files.path, os.O_RDWR)
        except FileNotFoundError:
            self._log = self._create(self._next_begin)
        self._inode = os.fstat(self._log).st_ino
        self._checked_at = time.monotonic()

    def _check_owner(self) -> None:
        """Log once if another user owns the directory."""
        directory = self._files.path.parent
        with suppress(OSError):
            if (owner := foreign_owner(directory)) is not None:
                log.warning("log.directory_of_another_user", directory=str(directory), user=owner)

    def _create(self, begin: int) -> int:
        """Create the newest file. Its offset is stored before readers can open it."""
        path, draft = self._files.path, self._files.draft
        new = create_own(draft, os.O_RDWR, 0o640)
        try:
            self.offsets.add(os.fstat(new).st_ino, begin)
            draft.rename(path)
        except OSError:
            os.close(new)
            raise
        return new

    def _leave_file(self) -> None:
        """Close a file that gets no more bytes."""
        size = os.lseek(self._log, 0, os.SEEK_END)
        self._next_begin = (self.offsets.begin(self._inode) or 0) + size
        self.close()

    def _was_replaced(self) -> bool:
        """Return whether the file was removed or replaced; checks every `CHECK_EVERY` seconds."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY:
            return False
        self._checked_at = now
        try:
            return self._files.path.lstat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        """Start a new file; if the rotation fails, the present file grows further."""
        try:
            self._files.rotate(self._rotation.keep)
        except OSError as error:
            log.warning("log.not_rotated", file=str(self._files.path), error=str(error))
            self._soft += self._rotation.max_bytes
            return
        self._soft = self._rotation.soft
        self._leave_file()
        with suppress(OSError):  # the next byte causes and reports the same error
            self._open()

    # ---- bytes

    def _take(self, pipe: int, size: int) -> int:
        if size < self._soft:
            return self._transfer(pipe, min(self._soft - size, AT_ONCE))
        room = self._soft + LINE_BYTES - size
        ahead = self._peeker.peek(pipe, room if room > 0 else LINE_BYTES)
        if not ahead:
            return 0
        line = ahead.find(b"\n") + 1
        moved = self._transfer(pipe, line or len(ahead))
        if moved == line or moved >= room:
            self._rotate()
        return moved

    def _transfer(self, pipe: int, count: int) -> int:
        if self._splices:
            try:
                return os.splice(pipe, self._log, count, flags=os.SPLICE_F_NONBLOCK)
            except OSError as error:
                if error.errno not in NO_SPLICE:
                    raise
                self._splices = False
                log.warning("log.copied", file=str(self._files.path), error=str(error))
        return self._copy(pipe, count)

    def _copy(self, pipe: int, count: int) -> int:
        """Move bytes through this process; a kill may lose some of them."""
        chunk = os.read(pipe, min(count, COPIED_AT_ONCE))
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._log, rest) :]
        except OSError as error:
            self._refuse(error)
            self._count_dropped(bytes(rest))
        return len(chunk)

    # ---- a file that refuses bytes

    def _refuse(self, error: OSError) -> None:
        if not self._refuses:
            log.warning("log.refused", file=str(self._files.path), error=str(error))
            self._report(self._files.path, f"cannot write {self._files.path}: {error.strerror}")
        self._refuses = True
        self.close()

    def _drop(self, pipe: int) -> int:
        dropped = os.read(pipe, COPIED_AT_ONCE)
        self._count_dropped(dropped)
        return len(dropped)

    def _count_dropped(self, dropped: bytes) -> None:
        self._losses.note(self._files.path)
        self._unreported_bytes += len(dropped)
        self.dropped_bytes += len(dropped)
        self.lost = (self.lost + dropped)[-LOST_BYTES:]

    def _report_dropped(self) -> None:
        """Write the number of missing bytes; raises OSError, and then has written nothing."""
        size = os.lseek(self._log, 0, os.SEEK_END)
        self._end_line(size)
        count = self._unreported_bytes
        many = f"{count} bytes" if count else "an unknown number of bytes"
        note = f"[comfysup: {many} of log were dropped here]\n".encode()
        if os.write(self._log, note) < len(note):
            os.ftruncate(self._log, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        log.info("log.resumed", file=str(self._files.path), dropped_bytes=count)
        self._unreported_bytes = 0
        self._losses.settle(self._files.path)

    def _end_line(self, size: int) -> None:
        if size and os.pread(self._log, 1, size - 1) != b"\n":
            os.lseek(self._log, 0, os.SEEK_END)
            os.write(self._log, b"\n")
