"""Who descends from a process: its group, and whoever left the group or the session.

Four signs tell a descendant: the group, the session, the marker in its environment, and, of those
that became children of this daemon, the instance's output, which it still holds. Before a process
is signalled its tree is looked at too. What left the session *and* cleared its environment *and*
closed its output *and* lost its parent before that look cannot be told from what other instances
left, and is not touched.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from comfysup.system.proc import all_pids, children_of, own_children, read_marker, read_stat

NEVER = 0
"""A start time that no process has."""

NOBODY = -1
"""A pid that nothing has, nor any group or session: 0 is theirs who come from outside."""


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
class Lineage:
    """The signs of one generation of one instance.

    `leader` is its pid, group and session, `output` the device and inode of what it writes to.
    """

    leader: int
    marker: str
    output: tuple[int, int] | None = None

    def claims(self, pid: int) -> bool:
        """Whether that process lives and bears one of the signs."""
        stat = read_stat(pid)
        if stat is None or stat.ended or pid == self.leader:
            return False
        return self.leader in (stat.group, stat.session) or read_marker(pid) == self.marker

    def orphans(self, is_leader: Callable[[int], bool], known: Iterable[Found] = ()) -> list[Found]:
        """Return what lives of a dead child of this process, and of those that are `known`.

        This process is a subreaper, so what the dead one left are its children now: no look at
        the rest of the machine is needed. `is_leader` says which children are instances.
        """
        own = (pid for pid in own_children() if not is_leader(pid))
        claimed = (pid for pid in own if self.claims(pid) or self._holds_output(pid))
        there = (found.pid for found in known if found.still_there())
        return _with_descendants([*claimed, *there])

    def survivors(self, known: Iterable[Found] = ()) -> list[Found]:
        """Return what lives of a dead process whose orphans went to another reaper."""
        claimed = (pid for pid in all_pids() if self.claims(pid))
        there = (found.pid for found in known if found.still_there())
        return _with_descendants([*claimed, *there])

    def _holds_output(self, pid: int) -> bool:
        """Whether it has the output open; only of children of this process, which has it too."""
        if self.output is None:
            return False
        directory = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(directory)  # noqa: PTH208 - half the time
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return any(_identity(f"{directory}/{each}") == self.output for each in descriptors)


def descendants_of(pid: int) -> list[Found]:
    """Return who descends from a process by living parents."""
    return _with_descendants(children_of(pid))


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


def find_generation(marker: str) -> Found | None:
    """Return the process that was started with that marker, or stands for it.

    Where it is gone and others bear its marker still, a pid that is nobody's by that start time.
    """
    bearers = [pid for pid in all_pids() if read_marker(pid) == marker]
    stats = {pid: stat for pid in bearers if (stat := read_stat(pid)) and not stat.ended}
    for pid, stat in stats.items():
        if pid == stat.session:
            return Found(pid, stat.start_time)
    return next((Found(stat.session, NEVER) for stat in stats.values()), None)


def marked(identity: str) -> dict[str, list[Found]]:
    """Return everything alive whose marker begins with that word, by marker."""
    found: dict[str, list[Found]] = {}
    for pid in all_pids():
        marker = read_marker(pid)
        if marker is None or not marker.startswith(f"{identity}:"):
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
