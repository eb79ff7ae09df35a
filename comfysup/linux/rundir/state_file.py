"""A small file that is replaced atomically and survives the death of its writer.

The file need not survive a crash of the machine, because its content is void after a boot. So no
write waits for a disk; the kernel keeps completed writes when the process dies. Only the next
daemon reads the file, when no writer is left.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from comfysup.linux.conditions import Report, to_nobody

log = structlog.get_logger()

AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
"""Arguments of renameat2(2)."""

BROKEN: Final = ".broken"
"""The suffix of a copy of unreadable content."""

LIBC: Final = ctypes.CDLL(None, use_errno=True)


class StateFile:
    """The file. `problem` is the sentence for the last failed operation, or None."""

    def __init__(self, path: Path, report: Report = to_nobody) -> None:
        self.path = path
        self.problem: str | None = None
        self._report = report
        self._draft = path.with_suffix(".draft")

    def read(self) -> bytes | None:
        """Return the content, or None if the file does not exist. Raises OSError."""
        try:
            return read_regular(self.path)
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> bool:
        """Replace the content. On failure, keep the old content, set `problem`, return False."""
        return self._try("write", partial(self._write_whole, content))

    def forget(self) -> bool:
        """Remove the file. On failure, set `problem` and return False."""
        return self._try("remove", self._remove)

    def exists(self) -> bool:
        """Return whether the path exists or cannot be examined."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            pass
        return True

    def put_aside(self) -> Path:
        """Move the unreadable file to `aside` and return that path. Raises OSError."""
        self.path.replace(self.aside)
        return self.aside

    def copy_aside(self) -> Path:
        """Copy the partly unreadable file to `aside` and return that path. Raises OSError."""
        copy = os.open(
            self.aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(copy, "wb") as file:
            file.write(read_regular(self.path))
        return self.aside

    def report_loss(self, sentence: str) -> None:
        """Report lost content. The report is cleared when the copy of it is removed."""
        self._report(self.aside, sentence)

    @property
    def aside(self) -> Path:
        """The path of the copy of unreadable content."""
        return self.path.with_suffix(BROKEN)

    def _try(self, verb: str, work: Callable[[], None]) -> bool:
        """Run `work` and report the first failure and the first success after it."""
        try:
            work()
        except OSError as error:
            if self.problem is None:
                log.error("state.unwritable", file=str(self.path), error=str(error))  # noqa: TRY400 - not a bug
                self._tell(f"cannot {verb} {self.path}: {error.strerror}")
            return False
        if self.problem is not None:
            log.info("state.writable_again", file=str(self.path))
            self._tell(None)
        return True

    def _tell(self, problem: str | None) -> None:
        self.problem = problem
        self._report(self.path, problem)

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._draft.unlink(missing_ok=True)

    def _write_whole(self, content: bytes) -> None:
        """Write the draft and exchange it with the file.

        ext4 flushes to disk when a file replaces another or is truncated to zero first. That takes
        six times as long as the rest, and at times ten milliseconds. So the exchange keeps the
        older file as the next draft, and its content is overwritten.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        draft = os.open(self._draft, flags, 0o600)
        try:
            _require_regular(draft, self._draft)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(draft, rest) :]
            os.ftruncate(draft, len(content))
        finally:
            os.close(draft)
        try:
            _exchange(self._draft, self.path)
        except OSError:  # no such file yet, or not supported by the file system
            self._draft.replace(self.path)


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError for any other kind of file."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _require_regular(file, path)
        with os.fdopen(file, "rb", closefd=False) as content:
            return content.read()
    finally:
        os.close(file)


def _require_regular(file: int, path: Path) -> None:
    """Raise OSError if the open `file` is a directory, a FIFO or a device."""
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number), str(path))


def _exchange(one: Path, other: Path) -> None:
    """Exchange two files atomically. Raises OSError."""
    if LIBC.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
