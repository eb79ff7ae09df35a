"""Recognizes the descendants of a process, including those that left its group or session.

A descendant has one of four signs: the group, the session, the marker in its environment, or write
access to the instance's output. The tree is also recorded before each signal. A process that left
the session *and* cleared its environment *and* closed its output *and* lost its parent before that
record cannot be told from another instance's, and is not touched.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from comfysup.linux.process.proc import (
    Stat,
    children_of,
    living_thread,
    read_marker,
    read_open_file,
    read_stat,
)

NEVER = 0
"""A start time that no process has."""

NOBODY = -1
"""A pid, group and session that no process has.

0 is taken: processes from outside the namespace.
"""

NO_FILES = ("socket:", "anon_inode:")
"""Prefixes by which the kernel names descriptors that are neither files nor pipes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A process. The start time distinguishes it from a later one with the same pid."""

    pid: int
    start_time: int

    def leads(self) -> bool:
        """Return whether the process leads its session, as a launched process does."""
        stat = read_stat(self.pid)
        return stat is not None and stat.session == self.pid

    def still_there(self) -> bool:
        """Return whether that process still exists and has not ended."""
        stat = read_stat(self.pid)
        return stat is not None and stat.start_time == self.start_time and not stat.ended


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """The signs of one generation of one instance.

    `leader` is its pid, group and session. `output` is the device and inode of its output.
    `started` is the leader's start time if another process may have reaped the leader.
    """

    leader: int
    marker: str
    output: tuple[int, int] | None = None
    started: int = NEVER

    def claims(self, pid: int, stat: Stat, *, locked: bool = False) -> bool:
        """Return whether a living process other than the leader has one of the signs.

        `stat` belongs to that process. If its memory is `locked`, its marker is not read, because
        the read would not return.
        """
        if self.leader in (stat.group, stat.session) and self._names_ours():
            return True
        return (not locked and read_marker(pid) == self.marker) or self._holds_output(pid)

    def _names_ours(self) -> bool:
        """Return whether the leader's pid has not been reused.

        The kernel reuses a pid only when the group and session of that number are empty. If another
        process has the pid, the group and session are that process'.
        """
        if self.started == NEVER:
            return True
        leader = read_stat(self.leader)
        return leader is None or leader.start_time == self.started

    def _holds_output(self, pid: int) -> bool:
        """Return whether the process can write to the output.

        A process that only reads does not count.
        """
        if self.output is None or pid == os.getpid():
            return False
        return holds(pid, self.output)


def holds(pid: int, file: tuple[int, int]) -> bool:
    """Return whether a process has that device and inode open for writing."""
    try:
        process, descriptors = _descriptors_of(pid)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(_writes_to(process, each, file) for each in descriptors)


def _descriptors_of(pid: int) -> tuple[int | str, list[str]]:
    """Return a process' descriptors and the /proc name under which they are listed."""
    if descriptors := os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - half the time
        return pid, descriptors
    thread = living_thread(pid)
    return thread, os.listdir(f"/proc/{thread}/fd")  # noqa: PTH208 - likewise


def _writes_to(process: int | str, descriptor: str, file: tuple[int, int]) -> bool:
    """Return whether a descriptor is that device and inode, open for writing.

    `stat` comes last because it reads the file's disk, which may not answer.
    """
    path = f"/proc/{process}/fd/{descriptor}"
    try:
        target = os.readlink(path)  # noqa: PTH115 - half the time
    except OSError:
        return False
    if target.startswith(NO_FILES):
        return False
    opened = read_open_file(process, descriptor)
    if opened is None or not opened.can_write or opened.inode not in (None, file[1]):
        return False
    return _identity(path) == file


def descendants_of(pid: int) -> list[Found]:
    """Return the descendants of a process that are reachable through living parents."""
    return _with_descendants(children_of(pid))


def has_for_stdout(output: tuple[int, int], pid: int) -> bool:
    """Return whether the stdout of a process is that device and inode.

    This identifies a process between fork and exec, which has no marker yet.
    """
    return _writes_to(pid, "1", output)


def oldest_of(pids: Iterable[int]) -> Found | None:
    """Return the living process with the earliest start, or None."""
    stats = {pid: stat for pid in pids if (stat := read_stat(pid)) and not stat.ended}
    oldest = min(stats, key=lambda pid: stats[pid].start_time, default=None)
    return None if oldest is None else Found(oldest, stats[oldest].start_time)


def identity_of(file: int | Path) -> tuple[int, int]:
    """Return the device and inode of a file, given open or by path. Raises OSError."""
    status = os.stat(file)  # noqa: PTH116 - a descriptor has no method for it
    return status.st_dev, status.st_ino


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the time
    except OSError:
        return None
    return status.st_dev, status.st_ino


def find_generation(marker: str, markers: Mapping[int, str]) -> Found | None:
    """Return the process that was started with that marker, or a stand-in for it.

    `markers` maps all pids to their markers. If the leader is gone but descendants with its marker
    live, the result is its pid with the start time `NEVER`. If none lives, the result is None.
    """
    bearers = [pid for pid, each in markers.items() if each == marker]
    stats = {pid: stat for pid in bearers if (stat := read_stat(pid)) and not stat.ended}
    for pid, stat in stats.items():
        if pid == stat.session:
            return Found(pid, stat.start_time)
    return next((Found(stat.session, NEVER) for stat in stats.values()), None)


def marked(identity: str, markers: Mapping[int, str]) -> dict[str, list[Found]]:
    """Return all living processes whose marker starts with that identity, by marker.

    `markers` maps all pids to their markers.
    """
    found: dict[str, list[Found]] = {}
    for pid, marker in markers.items():
        if not marker.startswith(f"{identity}:"):
            continue
        stat = read_stat(pid)
        if stat is not None and not stat.ended:
            found.setdefault(marker, []).append(Found(pid, stat.start_time))
    return found


def _with_descendants(roots: Iterable[int]) -> list[Found]:
    found: dict[int, Found] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        stat = read_stat(pid)
        if pid not in found and stat is not None and not stat.ended:
            found[pid] = Found(pid, stat.start_time)
            waiting += children_of(pid)
    return list(found.values())
