"""The files of one log: `NAME` is the newest, `NAME.1` the one before it, then `NAME.2`.

A rotation renames the files one by one, from the oldest. A kill between two renames leaves a gap in
the numbers. The next rotation then shifts only the files up to that gap, so a kill never loses a
file.
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
"""The maximum bytes of a line before a rotation cuts it."""

MOST_KEPT = 128
"""The limit of the numbers that are searched; a setting allows fewer."""


ATTEMPTS = 1_000
"""The maximum number of attempts to open the files during rotations."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The size at which a log is rotated, and the number of old files to keep.

    A file ends at the first line end after `soft`, or in the middle of a line `LINE_BYTES` after
    `soft`. So a file exceeds `max_bytes` only if that is below 16 times `LINE_BYTES`, by less than
    `LINE_BYTES`, or if a rotation fails.
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
        """Derive the names from `path`, which is the newest file."""
        self.path = path

    @property
    def draft(self) -> Path:
        """The name of the next file before it is renamed to `path`."""
        return self.path.with_name(f"{self.path.name}.new")

    def numbered(self, number: int) -> Path:
        """Return the name of the file after `number` rotations; 0 is the newest."""
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    @contextmanager
    def opened(self) -> Iterator[list[Found]]:
        """Open all files for the duration, the newest first; raises OSError.

        Numbered files that comfysup did not create are skipped (`own_files`).

        A rotation moves files towards higher numbers, and this method opens them in the same
        direction. It meets each file, but after more than one rotation not in order. So it repeats
        after a rotation.
        """
        for _ in range(ATTEMPTS):
            with ExitStack() as files:
                before = self._newest()
                found = list(self._open_each(files))
                if before == self._newest():
                    yield found
                    return
        raise OSError(errno.EBUSY, f"{self.path} is rotated too often to be read")

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
        """Return the inode of the newest file, or None if there is none."""
        try:
            return self.path.lstat().st_ino
        except FileNotFoundError:
            return None

    def rotate(self, keep: int) -> None:
        """Rename each file to the next number, and remove those beyond `keep`; raises OSError."""
        if keep == 0:
            self.path.unlink()
        else:
            gap = next((n for n in range(1, keep) if not self.numbered(n).exists()), keep)
            for number in range(gap, 0, -1):
                self.numbered(number - 1).rename(self.numbered(number))
        for number in range(keep + 1, self._highest() + 1):
            self.numbered(number).unlink(missing_ok=True)

    def _highest(self) -> int:
        """Return the highest number of an existing file."""
        name = re.compile(re.escape(self.path.name) + r"\.([1-9][0-9]{0,2})")
        numbers = [0]
        with suppress(FileNotFoundError), os.scandir(self.path.parent) as entries:
            numbers += [int(match[1]) for each in entries if (match := name.fullmatch(each.name))]
        return min(max(numbers), MOST_KEPT - 1)
