"""Places in a log: from where a reader resumes, and what each file of it begins with."""

import os
import re
import secrets
import zlib
from dataclasses import astuple, dataclass
from typing import Self

from typing_extensions import override

from comfysup.logs.files import LogFiles

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


REMEMBERED = 1_000
"""Files that are known, the newest."""


class StreamOffsets:
    """Keeps the beginnings by inode; written by one thread, read by any.

    The file that was the oldest when this was made begins at 0. `life` tells its numbers
    from those of another daemon.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.life = secrets.randbits(32)
        self._begins: dict[int, int] = {}

    def survey(self, files: LogFiles) -> int:
        """Take in the files that are there now, and return where one that is new would begin."""
        with files.opened() as all_of_them:
            found = [(each.inode, each.size) for each in all_of_them]
        end = 0
        for inode, size in reversed(found):
            self.add(inode, end)
            end += size
        return end

    def add(self, inode: int, begin: int) -> None:
        """Note a file that begins now; an inode may have had another life."""
        self._begins.pop(inode, None)
        self._begins[inode] = begin
        if len(self._begins) > REMEMBERED:
            del self._begins[next(iter(self._begins))]

    def begin(self, inode: int) -> int | None:
        """Return where that file, which is still there, begins; None where that is not known."""
        return self._begins.get(inode)
