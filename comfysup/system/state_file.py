"""A small file that is replaced whole at every change, and survives the death of who writes it.

It need not survive the machine's: what it says is void after a boot. So nothing waits for a disk;
the kernel keeps what was written before the exchange, whatever happens to this process. It is read
by the next daemon alone, when nobody writes any more.
"""

import ctypes
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from comfysup.system.troubles import Report, to_nobody

log = structlog.get_logger()

AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
"""Arguments of renameat2(2)."""

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
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> bool:
        """Replace the content, or keep the old one and say why in `problem`."""
        return self._try("write", partial(self._write_whole, content))

    def forget(self) -> bool:
        """Remove it: there is nothing that a next daemon should go on with."""
        return self._try("remove", self._remove)

    def put_aside(self) -> Path:
        """Keep a content that cannot be read where nobody takes it for state."""
        aside = self.path.with_suffix(".broken")
        self.path.replace(aside)
        return aside

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
        draft = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
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


def _exchange(one: Path, other: Path) -> None:
    """Let two files change places in one step. Raises OSError."""
    if LIBC.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
