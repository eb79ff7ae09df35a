"""Processes as the kernel reports them, independent of the daemon."""

import itertools
import os
import resource
import time
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _read(pid: int, what: str) -> bytes:
    """Return a file of /proc/PID; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty if the process has ended."""
    return _read(pid, "stat").rpartition(b") ")[2].decode().split()


def alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    fields = stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def started_at(pid: int) -> float:
    """Return the start time of a process in seconds since boot, truncated to a hundredth."""
    return int(stat(pid)[19]) / TICKS


def since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def zombies_of(pid: int) -> list[int]:
    return [child for child in children(pid) if stat(child)[:1] == ["Z"]]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a number is all


def has_socket(pid: int) -> bool:
    """Return whether a process has an open socket, as a command that has sent its request."""
    directory = Path(f"/proc/{pid}/fd")
    with suppress(OSError):
        return any(each.readlink().name.startswith("socket:") for each in directory.iterdir())
    return False


def limit_for(pid: int, free: int) -> int:
    """Return the RLIMIT_NOFILE that leaves a process that many descriptors."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208 - likewise
    unused = (number for number in itertools.count() if number not in used)
    return next(itertools.islice(unused, free, None))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - likewise


def resident_bytes(pid: int) -> int:
    return int(_read(pid, "statm").split()[1]) * resource.getpagesize()


def all_of(marker: str, workspace: Path) -> dict[int, str]:
    """Return the running processes with the marker or in the workspace, and their commands."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - as names
        if not name.isdigit() or int(name) == os.getpid() or not alive(int(name)):
            continue
        ours = f"COMFYSUP_MARKER={marker}:".encode() in _read(int(name), "environ")
        with suppress(OSError):
            ours |= Path(f"/proc/{name}/cwd").readlink().is_relative_to(workspace)
        if ours:
            found[int(name)] = (
                _read(int(name), "cmdline").replace(b"\0", b" ").decode(errors="replace")
            )
    return found


def signals_of(pid: int, field: str) -> int:
    """A signal mask of /proc/PID/status: `SigIgn`, `SigBlk`, `SigCgt`."""
    for line in _read(pid, "status").decode().splitlines():
        if line.startswith(field):
            return int(line.split()[1], 16)
    raise ProcessLookupError(pid)
