"""A small file that is replaced whole at every change, and survives the death of who writes it.

It need not survive the machine's: what it says is void after a boot. So nothing waits for a disk;
the kernel keeps what was written before the exchange, whatever happens to this process. It is read
by the next daemon alone, when nobody writes any more.
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
"""The suffix of a copy of what could not be read."""

LIBC: Final = ctypes.CDLL(None, use_errno=True)


class StateFile:
    """The file, and whether it could be written. `problem` is None while all is well."""

    def __init__(self, path: Path, report: Report = to_nobody) -> None:
        self.path = path
        self.problem: str | None = None
        self._report = report
        self._draft = path.with_suffix(".draft")

    def read(self) -> bytes | None:
        """Return what was written last; None where there is nothing. Raises OSError."""
        try:
            return read_regular(self.path)
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> bool:
        """Replace the content, or keep the old one and say why in `problem`."""
        return self._try("write", partial(self._write_whole, content))

    def forget(self) -> bool:
        """Remove it: there is nothing that a next daemon should go on with."""
        return self._try("remove", self._remove)

    def exists(self) -> bool:
        """Whether there is anything at its path, or that cannot be seen."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            pass
        return True

    def put_aside(self) -> Path:
        """Keep a content that cannot be read where nobody takes it for state. Raises OSError."""
        self.path.replace(self.aside)
        return self.aside

    def copy_aside(self) -> Path:
        """Keep a copy of a content that can be read in part only. Raises OSError."""
        copy = os.open(
            self.aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(copy, "wb") as file:
            file.write(read_regular(self.path))
        return self.aside

    def report_loss(self, sentence: str) -> None:
        """Report that some of the content is lost; over once the copy of it is removed."""
        self._report(self.aside, sentence)

    @property
    def aside(self) -> Path:
        """Where a content is kept that could not be read."""
        return self.path.with_suffix(BROKEN)

    def _try(self, verb: str, work: Callable[[], None]) -> bool:
        """Do that, and tell of the first failure and of the end of failing."""
        try:
            work()
        except OSError as error:
            if self.problem is None:
                log.error("state.unwritable", file=str(self.path), error=str(error))  # noqa: TRY400 - no defect of ours
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

        ext4 begins to write to the disk when a file takes the place of another, or was emptied
        before: that takes six times as long as the rest, and now and then ten milliseconds. So the
        older content is overwritten, and becomes the next draft.
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
        except OSError:  # there is none yet, or this file system cannot
            self._draft.replace(self.path)


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; anything else that stands there raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _require_regular(file, path)
        with os.fdopen(file, "rb", closefd=False) as content:
            return content.read()
    finally:
        os.close(file)


def _require_regular(file: int, path: Path) -> None:
    """Raise OSError where the open `file` is a directory, a FIFO or a device."""
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number), str(path))


def _exchange(one: Path, other: Path) -> None:
    """Let two files change places in one step. Raises OSError."""
    if LIBC.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
