"""Whether the worker of a ComfyUI, the thread that executes its prompts, has died.

What escapes ComfyUI's executor ends that thread, `sys.exit` in a node for one, while the process
goes on: all routes answer, prompts are accepted, and none is executed any more. No route tells.
But the thread is gone from /proc, and it was there when the process became ready: the worker is
started before the port opens. So where all threads of then still live, the worker does.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

IDLE: Final = 10.0
"""Seconds for which prompts wait, and none runs, before a worker that may be gone is. A living one
takes the next prompt within milliseconds; it is slower only while it unloads models, which is
progress."""
IDLE_UNPROVEN: Final = 60.0
"""The same if the worker's thread is not known: for an adopted process."""
STALLED: Final = 120.0
"""Seconds for which a prompt makes no progress before a worker that may be gone is. Long, since a
node may wait for an answer from the network, and a thread other than the worker end meanwhile."""
OUTDATED: Final = 30.0
"""Seconds after which the threads of an idle process are read again."""
STALLED_UNPROVEN: Final = 1800.0
"""The same if the worker's thread is not known."""
LONGEST_STEP: Final = 15.0
"""Maximum seconds counted between two signs; a gap in the observation is no standstill."""

_END = re.compile(r"Exception in thread \S+ \(prompt_worker\)")


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of a process: its thread ids, or None if they are unreadable.

    `worked` means that since the last reading a thread other than the main one used CPU, or that
    files were read or written.
    """

    threads: frozenset[int] | None
    worked: bool


LookAgain: TypeAlias = Callable[[], Awaitable[Look]]
"""Reads one process repeatedly. Never raises."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What is seen of a process at one moment of the monotonic clock.

    `running` is the id of the prompt that runs, `waiting` how many wait behind it. `threads` are
    the ids of its threads, None where they cannot be read. `progress` says that something was done
    since the last sign: see `Look.worked`, or a frame came on `/ws`.
    """

    at: float
    running: str | None
    waiting: int
    threads: frozenset[int] | None
    progress: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """What the signs so far tell of a worker.

    `candidates` are the threads of which it is one, None where none is known to be it. `seen` are
    the threads at the last sign, which was `at` that moment and showed `running`. `standstill` is
    for how many seconds there has been work and no progress.
    """

    candidates: frozenset[int] | None = None
    seen: frozenset[int] | None = None
    at: float | None = None
    running: str | None = None
    standstill: float = 0.0

    @classmethod
    def of_adopted(cls, threads: frozenset[int] | None, running: str | None) -> Self:
        """Return the state for the worker of an adopted process."""
        return cls(seen=threads, running=running)

    @classmethod
    def of_ready(cls, threads: frozenset[int] | None) -> Self:
        """Return the state for the worker of a process that has just become ready."""
        return cls(candidates=threads, seen=threads)

    def after(self, sign: Sign) -> Self:
        """Return what is known after another sign.

        A prompt that was taken since the last sign proves that the worker lived at that one.
        """
        taken = sign.running is not None and sign.running != self.running
        candidates = self.candidates
        if taken and self.seen is not None:
            candidates = self.seen if candidates is None else candidates & self.seen
        has_work = sign.running is not None or sign.waiting > 0
        moved = taken or sign.progress or sign.running != self.running
        step = 0.0 if self.at is None else min(sign.at - self.at, LONGEST_STEP)
        return replace(
            self,
            candidates=candidates,
            seen=sign.threads,
            at=sign.at,
            running=sign.running,
            standstill=self.standstill + step if has_work and not moved else 0.0,
        )

    def is_outdated(self, now: float) -> bool:
        """Return whether the last sign is too old to rely on, also for an idle process."""
        return self.at is None or now - self.at >= OUTDATED

    def interrupted(self) -> Self:
        """Return the state after a gap without signs, which does not count as a standstill."""
        return replace(self, at=None, standstill=0.0)

    @property
    def is_suspect(self) -> bool:
        """Return whether the worker may have died, so that the log is worth reading."""
        known = self.candidates is not None and self.seen is not None
        return self.standstill >= IDLE and not (known and self.lives)

    @property
    def lives(self) -> bool:
        """Return whether all threads that may be the worker still exist."""
        return (self.candidates or frozenset()) <= (self.seen or frozenset())

    def has_died(self, *, logged: bool = False) -> bool:
        """Return whether the worker has died; `logged` means that the log reports its end."""
        if not self.is_suspect:
            return False
        if logged:
            return True
        if self.candidates is None or self.seen is None:
            bound = IDLE_UNPROVEN if self.running is None else STALLED_UNPROVEN
            return self.standstill >= bound
        return self.running is None or self.standstill >= STALLED


def tells_of_its_end(lines: Iterable[str]) -> bool:
    """Return whether the output reports that the worker ended; `sys.exit` reports nothing."""
    return any(_END.search(line) for line in lines)
