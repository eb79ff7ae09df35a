"""Positions in a log: where a reader resumes, and the start of each file."""

import os
import re
import secrets
import zlib
from dataclasses import astuple, dataclass
from typing import Self

from typing_extensions import override

from comfysup.logs.files import LogFiles

CHECKED_BYTES = 64
"""The number of bytes before a place that distinguish it from the same offset in another file."""

_TEXT = re.compile("-".join(["([0-9a-f]{1,16})"] * 5))


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """An offset in the file of an inode. Inodes are reused, so the preceding bytes are checked.

    `position` is the offset in the whole log, by the offsets of that `life`.
    """

    inode: int
    offset: int
    check: int
    life: int
    position: int

    @classmethod
    def at(cls, file: int, offset: int, life: int, begin: int) -> Self:
        """Return the place in an open file, which begins at `begin` by the offsets of that life."""
        inode = os.fstat(file).st_ino
        return cls(inode, offset, _check(file, offset), life, begin + offset)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that `str` wrote; None if the text is invalid."""
        match = _TEXT.fullmatch(text)
        return cls(*(int(part, 16) for part in match.groups())) if match else None

    def is_in(self, file: int) -> bool:
        """Return whether the place is in that open file."""
        found = os.fstat(file)
        if found.st_ino != self.inode or found.st_size < self.offset:
            return False
        return _check(file, self.offset) == self.check

    @override
    def __str__(self) -> str:
        return "-".join(f"{number:x}" for number in astuple(self))


def _check(file: int, offset: int) -> int:
    begin = max(0, offset - CHECKED_BYTES)
    return zlib.crc32(os.pread(file, offset - begin, begin))


REMEMBERED = 1_000
"""The number of files to remember, newest first."""


class StreamOffsets:
    """Stores the start of each file by inode; written by one thread, read by any.

    The file that was the oldest at creation starts at 0. `life` distinguishes these offsets from
    those of another daemon.
    """

    def __init__(self) -> None:
        """Start without files."""
        self.life = secrets.randbits(32)
        self._begins: dict[int, int] = {}

    def survey(self, files: LogFiles) -> int:
        """Add the existing files, and return the start of a new one."""
        with files.opened() as all_of_them:
            found = [(each.inode, each.size) for each in all_of_them]
        end = 0
        for inode, size in reversed(found):
            self.add(inode, end)
            end += size
        return end

    def add(self, inode: int, begin: int) -> None:
        """Add a file that starts now; its inode may have belonged to another file."""
        self._begins.pop(inode, None)
        self._begins[inode] = begin
        if len(self._begins) > REMEMBERED:
            del self._begins[next(iter(self._begins))]

    def begin(self, inode: int) -> int | None:
        """Return the start of an existing file; None if unknown."""
        return self._begins.get(inode)
