"""Who descends from a process: its group, and whoever left the group or the session.

Four signs tell a descendant: the group, the session, the marker in its environment, and the
instance's output, which the descendant can still write to. Before a process is signalled its tree
is looked at too. What left the session *and* cleared its environment *and*
closed its output *and* lost its parent before that look cannot be told from what other instances
left, and is not touched.
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
"""A pid that nothing has, nor any group or session: 0 is theirs who come from outside."""

NO_FILES = ("socket:", "anon_inode:")
"""How the kernel names descriptors that are neither files nor pipes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A process as it was found; the start time tells it from a later one with its pid."""

    pid: int
    start_time: int

    def leads(self) -> bool:
        """Whether it leads its session, as only what was launched does by itself."""
        stat = read_stat(self.pid)
        return stat is not None and stat.session == self.pid

    def still_there(self) -> bool:
        """Whether the pid still names that process, and it has not ended."""
        stat = read_stat(self.pid)
        return stat is not None and stat.start_time == self.start_time and not stat.ended


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """The signs of one generation of one instance.

    `leader` is its pid, group and session, `output` the device and inode of what it writes to.
    `started` is the start time of the leader where the leader may have been reaped by others.
    """

    leader: int
    marker: str
    output: tuple[int, int] | None = None
    started: int = NEVER

    def claims(self, pid: int, stat: Stat, *, locked: bool = False) -> bool:
        """Whether a living process that is not the leader bears one of the signs.

        `stat` is the process' own. The marker of one whose memory is `locked` is not looked at:
        that look would not return.
        """
        if self.leader in (stat.group, stat.session) and self._names_ours():
            return True
        return (not locked and read_marker(pid) == self.marker) or self._holds_output(pid)

    def _names_ours(self) -> bool:
        """Whether the number of the leader is still the leader's, or nobody's.

        The kernel gives a pid anew only when nothing is left of the group and the session of that
        number: where another process has it, they are that one's.
        """
        if self.started == NEVER:
            return True
        leader = read_stat(self.leader)
        return leader is None or leader.start_time == self.started

    def _holds_output(self, pid: int) -> bool:
        """Whether the process can write to the output; who only reads there looks at it."""
        if self.output is None or pid == os.getpid():
            return False
        return holds(pid, self.output)


def holds(pid: int, file: tuple[int, int]) -> bool:
    """Whether a process has that device and inode open for writing."""
    try:
        process, descriptors = _descriptors_of(pid)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(_writes_to(process, each, file) for each in descriptors)


def _descriptors_of(pid: int) -> tuple[int | str, list[str]]:
    """Return the descriptors of a process, with the name in /proc under which they are shown."""
    if descriptors := os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - half the time
        return pid, descriptors
    thread = living_thread(pid)
    return thread, os.listdir(f"/proc/{thread}/fd")  # noqa: PTH208 - likewise


def _writes_to(process: int | str, descriptor: str, file: tuple[int, int]) -> bool:
    """Whether a descriptor of a process is that device and inode, open for writing.

    `stat` is the last question: it goes to the disk that the file lies on, which may not answer.
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
    """Return who descends from a process by living parents."""
    return _with_descendants(children_of(pid))


def has_for_stdout(output: tuple[int, int], pid: int) -> bool:
    """Whether the stdout of a process is that device and inode.

    That tells a process between fork and exec, which bears no marker yet.
    """
    return _writes_to(pid, "1", output)


def oldest_of(pids: Iterable[int]) -> Found | None:
    """Return the one of these processes that began first and lives."""
    stats = {pid: stat for pid in pids if (stat := read_stat(pid)) and not stat.ended}
    oldest = min(stats, key=lambda pid: stats[pid].start_time, default=None)
    return None if oldest is None else Found(oldest, stats[oldest].start_time)


def identity_of(file: int | Path) -> tuple[int, int]:
    """Return the device and inode of a file, open or by its path; raises OSError."""
    status = os.stat(file)  # noqa: PTH116 - a descriptor has no method for it
    return status.st_dev, status.st_ino


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the time
    except OSError:
        return None
    return status.st_dev, status.st_ino


def find_generation(marker: str, markers: Mapping[int, str]) -> Found | None:
    """Return the process that was started with that marker, or stands for it.

    `markers` are those of all processes, by pid.
    Where it is gone and others bear its marker still, a pid that is nobody's by that start time.
    """
    bearers = [pid for pid, each in markers.items() if each == marker]
    stats = {pid: stat for pid in bearers if (stat := read_stat(pid)) and not stat.ended}
    for pid, stat in stats.items():
        if pid == stat.session:
            return Found(pid, stat.start_time)
    return next((Found(stat.session, NEVER) for stat in stats.values()), None)


def marked(identity: str, markers: Mapping[int, str]) -> dict[str, list[Found]]:
    """Return everything alive whose marker begins with that word, by marker.

    `markers` are those of all processes, by pid.
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
