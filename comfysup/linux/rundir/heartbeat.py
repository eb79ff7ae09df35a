"""The time of the last daemon's latest event loop turn, for the next daemon.

`<run>/heartbeat` holds seconds of the monotonic clock, which all daemons of one boot share, as
eight bytes. They are overwritten in place, which changes no directory and needs no space.
"""

import errno
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

SECONDS: Final = struct.Struct("=d")


class Heartbeat:
    """The heartbeat file. Write errors are ignored; `read` then returns None or an older time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self, now: float) -> float | None:
        """Return the last recorded time, or None if it is missing, invalid, or after `now`."""
        try:
            file = _open(self._path, os.O_RDONLY)
        except OSError:
            return None
        try:
            content = os.read(file, SECONDS.size + 1)
        except OSError:
            return None
        finally:
            os.close(file)
        if len(content) != SECONDS.size:
            return None
        (seconds,) = SECONDS.unpack(content)
        return seconds if 0 < seconds <= now else None

    def beat(self, monotonic: float) -> None:
        """Record the time."""
        with suppress(OSError):
            if self._file is None:
                self._file = _open(self._path, os.O_WRONLY | os.O_CREAT)
            os.pwrite(self._file, SECONDS.pack(monotonic), 0)

    def close(self) -> None:
        """Close the file without removing it."""
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _open(path: Path, flags: int) -> int:
    """Open a regular file without blocking. Raises OSError for any other kind of file."""
    flags |= os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file
