"""The first and the last lines that one process wrote to a log.

Output of earlier processes is excluded by the start of this process's output, because an old error
must not explain a new exit.
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
"""The maximum bytes to read; ComfyUI with two hundred custom nodes writes about 100 kB at start."""

SOUGHT_BYTES = 1 << 20
"""The maximum bytes to search for a text."""

_HEADING = re.compile(r"=== \S+ comfysup: ")


def read_tail(
    path: Path, lines: int, *, since: ResumeToken | None, offsets: StreamOffsets, lost: bytes = b""
) -> list[str]:
    """Return up to `lines` last lines, as text, of a log that may have been rotated meanwhile.

    Returns only lines after `since`, and none if that is None. `lost` is output that the file
    refused after that. Reads at most 32 kB. An unreadable log has no lines.
    """
    try:
        data, whole = _read_end(path, since, offsets)
    except OSError:
        data, whole = b"", False
    found = [clean(line) for line in _split(data + lost)]
    if not whole and len(found) > 1 and data:
        del found[0]  # its beginning was not read
    return _without_heading(found)[-lines:]


def read_head(path: Path, *, since: ResumeToken | None, offsets: StreamOffsets) -> list[str]:
    """Return the lines after `since`, not cleaned; reads at most 512 kB.

    Empty if the log cannot be read. Cleaning all lines would take the pump's thread a tenth of a
    second.
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
    """Return the lines after `since` that contain the text; `lost` as in `read_tail`.

    Searches the last megabyte at most. An unreadable log has no lines.
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
    """Return the last bytes, and whether they certainly start at the beginning of a line."""
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
    """Yield the files that may be read, open, the newest first, each with its first offset.

    If the file of `since` is gone, these are the files that began after it. If `offsets` cannot
    tell that, because another daemon made the place, only the newest file is yielded.
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
    """Remove the line with which comfysup starts the output of a process."""
    return lines[1:] if lines and _HEADING.match(lines[0]) else lines
