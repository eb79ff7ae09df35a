"""The last lines of a log file, as they are kept with the exit of a process."""

import os
from pathlib import Path

from comfysup.system.log_files import LogFiles
from comfysup.system.log_text import clean

TAIL_BYTES = 32_768


def read_tail(path: Path, lines: int, *, after: str = "") -> list[str]:
    """Return up to that many last lines, as text, of a log that may have been rotated meanwhile.

    Only what stands after the last line that ends with `after`, where there is such a line. Reads
    at most 32 kB. A log that cannot be read has no lines.
    """
    try:
        data, whole = _read_end(path)
    except OSError:
        return []
    found = data.decode(errors="replace").split("\n")
    if not whole and len(found) > (2 if not found[-1] else 1):
        del found[0]  # its beginning is not here
    if not found[-1]:
        del found[-1]
    if after:
        begin = next((n for n in range(len(found), 0, -1) if found[n - 1].endswith(after)), 0)
        found = found[begin:]
    return [clean(line) for line in found[-lines:]]


def _read_end(path: Path) -> tuple[bytes, bool]:
    """Return the last bytes, and whether the first of them begins a line for sure."""
    data = b""
    with LogFiles(path).opened() as files:
        for found in files:
            begin = max(0, found.size - (TAIL_BYTES - len(data)))
            data = os.pread(found.fd, found.size - begin, begin) + data
            if len(data) >= TAIL_BYTES:
                return data, False
    return data, True
