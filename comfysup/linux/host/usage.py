"""Resource usage of process trees, read from /proc once a second for all instances.

One walk takes about 10 µs per process of this container, whatever its number of threads.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from comfysup.linux.process.proc import all_pids
from comfysup.model.observed import Usage
from comfysup.supervision.tasks import InThread

PERIOD = 1.0
"""Seconds between two walks."""

OUTDATED = 30.0
"""Seconds after which a sample is outdated because /proc has not answered."""

WORKING_SHARE = 0.05
"""Share of one core above which a tree works. A thread that only waits for the GIL uses 0.005."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_IO_COUNTERS = (b"rchar", b"wchar", b"read_bytes", b"write_bytes")


@dataclass(frozen=True, slots=True)
class Counters:
    """What one process has used so far: `ticks` of CPU; `start_time` as in `Stat`."""

    parent: int
    ticks: int
    start_time: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Walk:
    """All processes at one moment; `at` is monotonic time in seconds."""

    at: float = 0.0
    table: Mapping[int, Counters] = field(default_factory=dict)

    @classmethod
    def now(cls) -> "Walk":
        pids = all_pids()
        found = ((pid, read_counters(pid)) for pid in pids)
        return cls(time.monotonic(), {pid: counters for pid, counters in found if counters})

    def trees(self, roots: Iterable[int]) -> dict[int, list[int]]:
        """Return the pids of each root's tree, root first; empty if the root is gone."""
        children: dict[int, list[int]] = {}
        for pid, counters in self.table.items():
            children.setdefault(counters.parent, []).append(pid)
        trees = {}
        for root in roots:
            tree = [root] if root in self.table else []
            for pid in tree:
                tree += children.get(pid, [])
            trees[root] = tree
        return trees

    def usage(self, tree: Collection[int], before: "Walk") -> Usage:
        """Return the usage of these processes; CPU is the average since `before`."""
        mine = [(pid, self.table[pid]) for pid in tree]
        ticks = sum(each.ticks - _ticks_of(before, pid, each) for pid, each in mine)
        seconds = self.at - before.at
        percent = 100.0 * ticks / _TICKS / seconds if before.table and seconds > 0 else 0.0
        return Usage(round(percent, 1), sum(each.rss_bytes for _, each in mine), len(mine))


class UsageSampler:
    """Samples the usage of each instance. `roots` maps each running instance to its pid."""

    def __init__(self, roots: Callable[[], Mapping[int, int]], in_thread: InThread) -> None:
        self._roots = roots
        self._in_thread = in_thread
        self._walk = Walk()
        self._usage: dict[int, Usage] = {}
        self._trees: dict[int, list[int]] = {}
        self._sampled_at = 0.0

    async def run(self) -> None:
        """Sample every `PERIOD` seconds until cancelled. Reads nothing while no instance runs."""
        while True:
            with suppress(OSError):  # out of descriptors: retry with the next sample
                await self._in_thread(partial(self._sample, tuple(self._roots().values())))
            await asyncio.sleep(PERIOD)

    def of(self, pid: int) -> Usage | None:
        """Return the last sample for a process' tree, or None if it is missing or outdated."""
        if time.monotonic() - self._sampled_at > OUTDATED:
            return None
        return self._usage.get(pid)

    def members(self, pid: int) -> Collection[int]:
        """Return the pids of a process' tree at the last sample, including the process."""
        return self._trees.get(pid) or [pid]

    def _sample(self, roots: tuple[int, ...]) -> None:
        before, self._walk = self._walk, Walk.now() if roots else Walk()
        self._trees = self._walk.trees(roots)
        self._usage = {
            root: self._walk.usage(tree, before) for root, tree in self._trees.items() if tree
        }
        self._sampled_at = time.monotonic()


class Work:
    """Detects whether a process tree works: uses CPU, reads or writes."""

    def __init__(self, members: Callable[[], Collection[int]]) -> None:
        """`members` returns the pids of the tree."""
        self._members = members
        self._at = 0.0
        self._before: dict[int, tuple[int, int]] = {}

    def since_last_call(self) -> bool:
        """Return whether the tree has worked since the last call. The first call: whether ever."""
        before, at = self._before, self._at
        self._at = time.monotonic()
        self._before = {pid: _cpu_and_io(pid) for pid in self._members()}
        least = WORKING_SHARE * (self._at - at) * _TICKS if before else 0.0
        ticks = sum(now[0] - before.get(pid, (0, 0))[0] for pid, now in self._before.items())
        moved = any(now[1] > before.get(pid, (0, 0))[1] for pid, now in self._before.items())
        return ticks > least or moved


def read_counters(pid: int) -> Counters | None:
    """Return the counters of a process from /proc/PID/stat (proc(5)), or None if it has ended."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, 4096)
    except OSError:
        return None
    finally:
        os.close(file)
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Counters(int(fields[1]), ticks, int(fields[19]), int(fields[21]) * _PAGE)


def _ticks_of(before: Walk, pid: int, now: Counters) -> int:
    """Return the earlier ticks of the same process, or 0 if it did not exist."""
    then = before.table.get(pid)
    return then.ticks if then and then.start_time == now.start_time else 0


def _cpu_and_io(pid: int) -> tuple[int, int]:
    """Return the CPU ticks and I/O bytes of a process; bytes are 0 if not visible."""
    counters = read_counters(pid)
    moved = 0
    with suppress(OSError), open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123 - half the time
        for line in file:
            name, _, value = line.partition(b":")
            moved += int(value) if name in _IO_COUNTERS else 0
    return (counters.ticks if counters else 0), moved
