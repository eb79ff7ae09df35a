"""The files of one log: `NAME` is written to, `NAME.1` was before it, `NAME.2` before that.

A rotation is a row of renames, begun at the oldest. Killed between two of them it leaves a gap in
the numbers, and the next rotation shifts only up to that gap: no file is ever lost to a kill.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from comfysup.linux.rundir.own_files import ForeignFileError, open_own

LINE_BYTES = 1 << 16
"""How long a line may be before a rotation cuts it."""

MOST_KEPT = 128
"""Numbers that are looked at; a setting allows fewer."""


ATTEMPTS = 1_000
"""How often files are opened anew because they were rotated meanwhile."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a log is rotated, and how many old files it keeps.

    A file is ended at the first line end after `soft`, and at `hard` where there is none: it is
    never larger than `max_bytes`, unless a line is too long for the space between.
    """

    max_bytes: int = 50 << 20
    keep: int = 5

    @property
    def soft(self) -> int:
        return self.max_bytes - min(LINE_BYTES, self.max_bytes // 16)


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a log, open for reading."""

    path: Path
    fd: int
    inode: int
    size: int


class LogFiles:
    """The files of one log, by name."""

    def __init__(self, path: Path) -> None:
        """Name them after `path`, which is the newest."""
        self.path = path

    @property
    def draft(self) -> Path:
        """What the next file is called until it is `path`."""
        return self.path.with_name(f"{self.path.name}.new")

    def numbered(self, number: int) -> Path:
        """Return the name of the file that was rotated so many times; 0 is the newest."""
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    @contextmanager
    def opened(self) -> Iterator[list[Found]]:
        """Open all files meanwhile, the newest first; raises OSError.

        Those with a number are left out where they are no files of ours (`own_files`).

        A rotation moves files towards higher numbers; going the same way meets each, but after
        more than one of them not in their order. So it is done again when one has ended meanwhile.
        """
        for _ in range(ATTEMPTS):
            with ExitStack() as files:
                before = self._newest()
                found = list(self._open_each(files))
                if before == self._newest():
                    yield found
                    return
        raise OSError(errno.EBUSY, f"{self.path} is rotated all the time")

    def _open_each(self, files: ExitStack) -> Iterator[Found]:
        seen = set()
        for number in range(MOST_KEPT):
            path = self.numbered(number)
            try:
                fd = open_own(path, os.O_RDONLY)
            except (FileNotFoundError, ForeignFileError) as error:
                if number == 0 and isinstance(error, ForeignFileError):
                    raise
                if number > self._highest():
                    return
                continue
            files.callback(os.close, fd)
            found = os.fstat(fd)
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                yield Found(path, fd, found.st_ino, found.st_size)

    def _newest(self) -> int | None:
        """Return the inode of the file that is written to, if there is one now."""
        try:
            return self.path.lstat().st_ino
        except FileNotFoundError:
            return None

    def rotate(self, keep: int) -> None:
        """Give every file the next number, and remove what is more than `keep`; raises OSError."""
        if keep == 0:
            self.path.unlink()
        else:
            gap = next((n for n in range(1, keep) if not self.numbered(n).exists()), keep)
            for number in range(gap, 0, -1):
                self.numbered(number - 1).rename(self.numbered(number))
        for number in range(keep + 1, self._highest() + 1):
            self.numbered(number).unlink(missing_ok=True)

    def _highest(self) -> int:
        """Return the highest number that a file has now."""
        name = re.compile(re.escape(self.path.name) + r"\.([1-9][0-9]{0,2})")
        numbers = [0]
        with suppress(FileNotFoundError), os.scandir(self.path.parent) as entries:
            numbers += [int(match[1]) for each in entries if (match := name.fullmatch(each.name))]
        return min(max(numbers), MOST_KEPT - 1)
