"""A small file that is replaced whole at every change, and survives the death of who writes it.

It need not survive the machine's: what it says is void after a boot. So nothing waits for a disk;
the kernel keeps what was written before the rename, whatever happens to this process.
"""

import os
from pathlib import Path

import structlog

log = structlog.get_logger()


class StateFile:
    """The file, and whether it could be written. `problem` is None while all is well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._draft = path.with_suffix(".draft")

    def read(self) -> bytes | None:
        """Return what was written last; None where there is nothing. Raises OSError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> bool:
        """Replace the content, or keep the old one and say why in `problem`."""
        try:
            self._write_whole(content)
        except OSError as error:
            if self.problem is None:
                log.error("state.unwritable", file=str(self.path), error=str(error))  # noqa: TRY400 - no defect of ours
            self.problem = f"cannot write {self.path}: {error.strerror}"
            return False
        if self.problem is not None:
            log.info("state.writable_again", file=str(self.path))
        self.problem = None
        return True

    def forget(self) -> None:
        """Remove it: there is nothing that a next daemon should go on with."""
        self.path.unlink(missing_ok=True)

    def put_aside(self) -> Path:
        """Keep a content that cannot be read where nobody takes it for state."""
        aside = self.path.with_suffix(".broken")
        self.path.replace(aside)
        return aside

    def _write_whole(self, content: bytes) -> None:
        draft = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(draft, rest) :]
        finally:
            os.close(draft)
        self._draft.replace(self.path)
