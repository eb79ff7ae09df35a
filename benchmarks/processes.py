"""Memory and CPU time of a process, read from proc(5)."""

import os
import re
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return its resident memory in bytes, including shared pages."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS") << 10


def peak_resident(pid: int) -> int:
    """Return its peak resident memory in bytes."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM") << 10


def proportional(pid: int) -> int:
    """Return its proportional set size in bytes: a page shared by two processes counts half."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss") << 10


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of the process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _kilobytes(file: str, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path(file).read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{file} has no {key}")
    return int(found[1])
