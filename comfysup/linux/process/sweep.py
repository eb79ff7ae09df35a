"""Kills all descendants of a dead process and proves that none is left.

One look without a find proves nothing: a process that keeps forking and exiting has another pid at
each look. So each look examines every process that is new since the last one while it lives. A
process that was gone before it could be examined makes the look inconclusive. The sweep is done
after two consecutive looks that found and missed nothing.

A descendant is stopped before its children are listed, and killed afterwards. A stopped process
cannot fork, so no child is reparented to init unnoticed.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP, Signals
from typing import Final

from comfysup.linux.process.handle import ProcessHandle, open_process
from comfysup.linux.process.proc import Stat, children_of, read_name, read_owner, read_stat
from comfysup.linux.process.tree import Found, ProcessTree

QUIET_LOOKS: Final = 2
"""Consecutive looks that must find and miss nothing."""

TURN: Final = 0.05
"""Seconds after which an unfinished turn returns."""

CROWDED: Final = 1.0
"""Seconds after the last find from which missed processes no longer count: other programs may start
and end processes all the time."""

CROWDED_LOOKS: Final = 50
"""Looks after the last find that must have passed as well.

On a busy machine a second can pass within five looks, and a descendant that keeps forking was seen
to escape up to three in a row.
"""


@dataclass(frozen=True, slots=True)
class Remnant:
    """A descendant that still exists. `refused`: this daemon may not signal it."""

    found: Found
    refused: bool

    def describe(self) -> str:
        pid = self.found.pid
        return describe(pid, refused=self.refused)


def describe(pid: int, *, refused: bool = False) -> str:
    """Describe a process that does not end, and why: `pid 4242 (python, user root)`."""
    owner = read_owner(pid) or "unknown"
    stat = read_stat(pid)
    why = "; comfysup may not signal it" if refused else ""
    if stat is not None and stat.state == "D":
        why = "; in an uninterruptible wait in the kernel"
    return f"pid {pid} ({read_name(pid)}, user {owner}{why})"


class Sweep:
    """One sweep. `turn` reads /proc, which can block, so call it in a thread.

    `candidates` returns the pids that may be descendants. `known` are descendants regardless of
    their signs. `remnants` are the finds of the last look. `reading` is the serial number and the
    pid of the process being examined: if it does not change, the turn hangs at that process.
    """

    def __init__(
        self,
        process_tree: ProcessTree,
        candidates: Callable[[], Iterable[int]],
        known: Iterable[Found] = (),
    ) -> None:
        """Prepare the sweep; nothing is examined yet."""
        self.remnants: dict[int, Remnant] = {}
        self._process_tree = process_tree
        self._candidates = candidates
        self._known = {each.pid: each for each in known}
        self._seen: set[int] = set()
        self._quiet = 0
        self._last_found: float | None = None
        self._looks_since = 0
        self._locked: set[int] = set()
        self._escaped = False
        self._judged = 0
        self.reading: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The owner of the descendants, for example `instance 3, generation 7`."""
        _, _, numbers = self._process_tree.marker.partition(":")
        instance, _, generation = numbers.partition(":")
        return f"instance {instance}, generation {generation}"

    def give_turn_up(self, pid: int) -> None:
        """Abandon a turn that hangs at a process, so that it does nothing if it resumes.

        Later turns do not read the memory of that process and use its other signs.
        """
        self._locked.add(pid)
        self.reading = None

    def turn(self) -> bool:
        """Look and kill. Return True when nothing is left, False when another turn is needed.

        Raises OSError if descriptors or memory are short, or if the turn was abandoned.
        """
        give_way = time.monotonic() + TURN
        if self._last_found is None:
            self._last_found = time.monotonic()
        while True:
            missed = self._look()
            now = time.monotonic()
            if self.remnants or self._escaped:
                self._quiet, self._last_found, self._looks_since = 0, now, 0
                return False
            self._looks_since += 1
            self._quiet = 0 if missed else self._quiet + 1
            crowded = now > self._last_found + CROWDED and self._looks_since >= CROWDED_LOOKS
            if self._quiet >= QUIET_LOOKS or crowded:
                return True
            if now > give_way:
                return False

    def _look(self) -> bool:
        """Kill all finds of one look. Return whether a process ended that may have forked before.

        Either a new process ended before it was examined, or a descendant before it was stopped.
        """
        pids = {*self._candidates()} - {self._process_tree.leader}
        fresh = pids - self._seen
        suspects = sorted(fresh | self._known.keys(), reverse=True)
        self.remnants = {}
        self._escaped = False
        missed = False
        for pid in suspects:
            if pid not in self.remnants and not self._judge(pid):
                missed = missed or pid in fresh
        self._seen = pids
        return missed or self._escaped

    def _judge(self, pid: int) -> bool:
        """Kill a process and its tree if it is a descendant. Return False if that is undecided.

        The signs vanish at exit, so a process that exited while they were read is undecided.
        """
        stat = read_stat(pid)
        if stat is None or stat.ended:
            self._known.pop(pid, None)
            return False
        known = self._known.get(pid)
        if known is not None and known.start_time != stat.start_time:
            del self._known[pid]
            known = None
        if known is not None or self._claims(pid, stat):
            self._end_tree(Found(pid, stat.start_time))
            return True
        after = read_stat(pid)
        return after is not None and after.start_time == stat.start_time and not after.exiting

    def _claims(self, pid: int, stat: Stat) -> bool:
        self._judged += 1
        reading = self.reading = self._judged, pid
        claimed = self._process_tree.claims(pid, stat, locked=pid in self._locked)
        if self.reading != reading:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        self.reading = None
        return claimed

    def _end_tree(self, root: Found) -> None:
        """Stop a descendant and its own descendants, then kill all of them.

        One that ended before it was stopped may have left a child that init or this process has
        adopted, so the next look must find it.
        """
        with ExitStack() as opened:
            stopped: list[ProcessHandle] = []
            waiting = [root]
            while waiting:
                found = waiting.pop()
                if found.pid in self.remnants:
                    continue
                handle = _open(found)
                if handle is None:
                    self._escaped = True
                    continue
                opened.enter_context(closing(handle))
                self.remnants[found.pid] = Remnant(found, refused=not _send(handle, SIGSTOP))
                self._known[found.pid] = found
                stopped.append(handle)
                waiting += _found(children_of(found.pid))
            for handle in stopped:
                _send(handle, SIGKILL)


def _open(found: Found) -> ProcessHandle | None:
    """Return a handle to that very process, None when it has ended."""
    try:
        handle = open_process(found.pid)
    except ProcessLookupError:
        return None
    if found.still_there():
        return handle
    handle.close()
    return None


def _send(handle: ProcessHandle, number: Signals) -> bool:
    """Send a signal; False where this process may not."""
    try:
        handle.send(number)
    except PermissionError:
        return False
    return True


def _found(pids: Iterable[int]) -> list[Found]:
    stats = ((pid, read_stat(pid)) for pid in pids)
    return [Found(pid, stat.start_time) for pid, stat in stats if stat and not stat.ended]
