"""When the last daemon turned its event loop last, for the next one.

`<run>/heartbeat` holds seconds of the monotonic clock, which all daemons between two boots share,
as eight bytes. They are overwritten in place: that touches no directory and needs no space.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

SECONDS: Final = struct.Struct("=d")


class Heartbeat:
    """The file; where it cannot be written the next daemon does not know, and is told nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self, now: float) -> float | None:
        """Return what was noted last; None where that is not known, or not before `now`."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        if len(content) != SECONDS.size:
            return None
        (seconds,) = SECONDS.unpack(content)
        return seconds if 0 < seconds <= now else None

    def beat(self, monotonic: float) -> None:
        """Note it."""
        with suppress(OSError):
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._file = os.open(self._path, flags, 0o600)
            os.pwrite(self._file, SECONDS.pack(monotonic), 0)

    def close(self) -> None:
        """Close the file, which stays."""
        if self._file is not None:
            os.close(self._file)
        self._file = None
