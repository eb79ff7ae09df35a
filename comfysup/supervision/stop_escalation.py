"""How a process is stopped: the signals in their order, and when each is sent."""

from dataclasses import dataclass
from enum import StrEnum
from signal import Signals
from typing import Self

KILL_PATIENCE = 5.0
"""Seconds for the kernel to carry out a SIGKILL before an instance counts as stuck."""


class StopStage(StrEnum):
    """The strongest signal sent so far. A stop goes through the stages in this order."""

    INTERRUPTED = "SIGINT"
    TERMINATED = "SIGTERM"
    KILLED = "SIGKILL"

    @property
    def signal(self) -> Signals:
        """The signal of this stage."""
        return Signals[self]


@dataclass(frozen=True, slots=True)
class StopEscalation:
    """The schedule of a stop: SIGINT at once, the other stages after these seconds."""

    terminate: float
    kill: float
    give_up: float

    @classmethod
    def of(cls, grace: float) -> Self:
        """Return SIGTERM after `grace` seconds, and SIGKILL after half of `grace` more."""
        return cls(grace, 1.5 * grace, 1.5 * grace + KILL_PATIENCE)

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Return SIGTERM at 60 %, SIGKILL at 85 %, and giving up at 100 % of `seconds`."""
        return cls(0.6 * seconds, 0.85 * seconds, seconds)

    def at(self, now: float) -> Self:
        """Return the same schedule in times of the monotonic clock instead of offsets."""
        return type(self)(now + self.terminate, now + self.kill, now + self.give_up)

    def later(self, seconds: float) -> Self:
        """Return the same schedule, `seconds` seconds later."""
        return type(self)(self.terminate + seconds, self.kill + seconds, self.give_up + seconds)

    def hurried(self, other: Self) -> Self:
        """Return the earlier time of both schedules for each stage."""
        return type(self)(
            min(self.terminate, other.terminate),
            min(self.kill, other.kill),
            min(self.give_up, other.give_up),
        )


def cannot_kill(remnants: tuple[str, ...]) -> str:
    """Return the message for processes that SIGKILL did not end."""
    return ": ".join(["SIGKILL did not end it", *([", ".join(remnants)] if remnants else [])])
