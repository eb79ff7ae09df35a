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
"""The same where it is not known which threads there were: of a process that was taken over."""
STALLED: Final = 120.0
"""Seconds for which a prompt makes no progress before a worker that may be gone is. Long, since a
node may wait for an answer from the network, and a thread other than the worker end meanwhile."""
OUTDATED: Final = 30.0
"""Seconds after which the threads of an idle process are looked at again."""
STALLED_UNPROVEN: Final = 1800.0
"""The same where it is not known which threads there were."""
LONGEST_STEP: Final = 15.0
"""Seconds between two signs that count at most: whoever was not looking saw no standstill."""

_END = re.compile(r"Exception in thread \S+ \(prompt_worker\)")


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a process shows: the ids of its threads, None where they cannot be read.

    `worked` says that since the last look a thread but the main one has used CPU, or files were
    read or written.
    """

    threads: frozenset[int] | None
    worked: bool


LookAgain: TypeAlias = Callable[[], Awaitable[Look]]
"""Looks at one process again and again; raises nothing."""


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
        """Return what is known of the worker of a process that is taken over."""
        return cls(seen=threads, running=running)

    @classmethod
    def of_ready(cls, threads: frozenset[int] | None) -> Self:
        """Return what is known of the worker of a process that has just become ready."""
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
        """Whether the last sign is too old for its threads to say much; also of an idle process."""
        return self.at is None or now - self.at >= OUTDATED

    def interrupted(self) -> Self:
        """Return what is known where no sign could be had: that it stood still is not."""
        return replace(self, at=None, standstill=0.0)

    @property
    def is_suspect(self) -> bool:
        """Whether it may have died: then the log of the process is worth a look."""
        known = self.candidates is not None and self.seen is not None
        return self.standstill >= IDLE and not (known and self.lives)

    @property
    def lives(self) -> bool:
        """Whether all threads that may be it are there."""
        return (self.candidates or frozenset()) <= (self.seen or frozenset())

    def has_died(self, *, logged: bool = False) -> bool:
        """Whether it has, by the last sign; `logged` says that the log tells of its end."""
        if not self.is_suspect:
            return False
        if logged:
            return True
        if self.candidates is None or self.seen is None:
            bound = IDLE_UNPROVEN if self.running is None else STALLED_UNPROVEN
            return self.standstill >= bound
        return self.running is None or self.standstill >= STALLED


def tells_of_its_end(lines: Iterable[str]) -> bool:
    """Say whether the output of a process tells that its worker ended; `sys.exit` says nothing."""
    return any(_END.search(line) for line in lines)
