"""The first and the last lines that one process wrote into a log file.

What an earlier process wrote there is left out by the place where the output of this one begins:
an old reason must not explain a new death.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from comfysup.logs.files import Found, LogFiles
from comfysup.logs.resume_token import ResumeToken, StreamOffsets
from comfysup.logs.text import clean

TAIL_BYTES = 32_768
HEAD_BYTES = 1 << 19
"""What is read at most; ComfyUI with two hundred custom nodes writes some 100 kB while it loads."""

SOUGHT_BYTES = 1 << 20
"""What is looked through at most for a text."""

_HEADING = re.compile(r"=== \S+ comfysup: ")


def read_tail(
    path: Path, lines: int, *, since: ResumeToken | None, offsets: StreamOffsets, lost: bytes = b""
) -> list[str]:
    """Return up to that many last lines, as text, of a log that may have been rotated meanwhile.

    Only what stands behind `since`, nothing where that is None; `lost` is what the file refused
    after that. Reads at most 32 kB. A log that cannot be read has no lines.
    """
    try:
        data, whole = _read_end(path, since, offsets)
    except OSError:
        data, whole = b"", False
    found = [clean(line) for line in _split(data + lost)]
    if not whole and len(found) > 1 and data:
        del found[0]  # its beginning is not here
    return _without_heading(found)[-lines:]


def read_head(path: Path, *, since: ResumeToken | None, offsets: StreamOffsets) -> list[str]:
    """Return the lines behind `since`, with all that they hold; reads at most 512 kB.

    None where it cannot. Cleaning them all would take a tenth of a second of the pump's thread.
    """
    data = b""
    try:
        with _files_since(path, since, offsets) as files:
            for found, begin in reversed(files):
                data += os.pread(found.fd, HEAD_BYTES - len(data), begin)
    except OSError:
        return []
    return _without_heading(_split(data))


def lines_with(
    path: Path, text: bytes, *, since: ResumeToken, offsets: StreamOffsets, lost: bytes = b""
) -> list[str]:
    """Return the lines behind `since` that hold the text; `lost` as in `read_tail`.

    Looks through the last megabyte at most. A log that cannot be read has no lines.
    """
    data = b""
    with suppress(OSError):
        data, _ = _read_end(path, since, offsets, SOUGHT_BYTES)
    return [
        clean(line.decode(errors="replace")) for line in (data + lost).split(b"\n") if text in line
    ]


def _read_end(
    path: Path, since: ResumeToken | None, offsets: StreamOffsets, most: int = TAIL_BYTES
) -> tuple[bytes, bool]:
    """Return the last bytes, and whether the first of them begins a line for sure."""
    data = b""
    with _files_since(path, since, offsets) as files:
        for found, first in files:
            begin = max(first, found.size - (most - len(data)))
            data = os.pread(found.fd, found.size - begin, begin) + data
            if len(data) >= most:
                return data, False
    return data, True


@contextmanager
def _files_since(
    path: Path, since: ResumeToken | None, offsets: StreamOffsets
) -> Iterator[Sequence[tuple[Found, int]]]:
    """Give the files that may be read, open, the newest first, each with its first offset.

    Where the file of `since` is gone, those that began after it; where `offsets` does not know
    that, because another daemon made the place, the newest alone.
    """
    if since is None:
        yield []
        return
    with LogFiles(path).opened() as files:
        for index, found in enumerate(files):
            if since.is_in(found.fd):
                yield [*((each, 0) for each in files[:index]), (found, since.offset)]
                return
        if offsets.life == since.life:
            begins = ((each, offsets.begin(each.inode)) for each in files)
            yield [(each, 0) for each, begin in begins if begin and begin >= since.position]
        else:
            yield [(each, 0) for each in files[:1]]


def _split(data: bytes) -> list[str]:
    lines = data.decode(errors="replace").split("\n")
    if not lines[-1]:
        del lines[-1]
    return lines


def _without_heading(lines: list[str]) -> list[str]:
    """Leave out the line with which comfysup begins the output of a process."""
    return lines[1:] if lines and _HEADING.match(lines[0]) else lines
