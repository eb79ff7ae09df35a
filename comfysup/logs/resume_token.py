"""A place in a log, as a reader keeps it to come back: after a rotation, and to another daemon."""

import os
import re
import zlib
from dataclasses import astuple, dataclass
from typing import Self

from typing_extensions import override

CHECKED_BYTES = 64
"""How much of what stands before a place tells it from the same number in another file."""

_TEXT = re.compile("-".join(["([0-9a-f]{1,16})"] * 5))


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """An offset in the file of that inode. Inodes are used again, so what stands before counts.

    `position` is where it is in the whole log, by the offsets of that `life`.
    """

    inode: int
    offset: int
    check: int
    life: int
    position: int

    @classmethod
    def at(cls, file: int, offset: int, life: int, begin: int) -> Self:
        """Name a place in an open file, which begins at `begin` by the offsets of that life."""
        inode = os.fstat(file).st_ino
        return cls(inode, offset, _check(file, offset), life, begin + offset)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str` wrote; None when it is something else."""
        match = _TEXT.fullmatch(text)
        return cls(*(int(part, 16) for part in match.groups())) if match else None

    def is_in(self, file: int) -> bool:
        """Whether it is in that open file."""
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
