"""What happens to an instance (`Event`), and what is done about it (`Action`)."""

import signal
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from comfysup.supervision.life import Exit, Ladder

# What callers ask for.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A caller wants it to run."""


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A caller wants it to run from a new process; `drain` as in `StopAsked`."""

    ladder: Ladder
    drain: float = 0.0


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A caller wants it to end, once it has done what it works on.

    For that it gets `drain` seconds at most.
    """

    ladder: Ladder
    drain: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The deadline of its state has come."""


# What the process of one generation reports; a report of an earlier generation is void.


@dataclass(frozen=True, slots=True)
class Launched:
    """The process exists."""

    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """No process came to be. `chance`, in [0, 1), is the jitter of a back-off."""

    generation: int
    exit: Exit
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The process answered as ComfyUI on its port."""

    generation: int


@dataclass(frozen=True, slots=True)
class WentSilent:
    """The process that was ready refuses connections again: it re-executed itself."""

    generation: int


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """The process was ready and has not answered for too long; `message` says what was seen."""

    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The process works on nothing any more."""

    generation: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended; `reboot` when ComfyUI asked to be started again."""

    generation: int
    exit: Exit
    reboot: bool = False


@dataclass(frozen=True, slots=True)
class TreeGone:
    """Nothing that the process left behind lives any more. `chance` as in `LaunchFailed`."""

    generation: int
    chance: float = 0.0


Report: TypeAlias = (
    Launched | LaunchFailed | BecameReady | WentSilent | Unresponsive | Drained | Exited | TreeGone
)
Event: TypeAlias = StartAsked | RestartAsked | StopAsked | DeadlinePassed | Report


# What is done.


@dataclass(frozen=True, slots=True)
class Launch:
    """Make the process of this generation; ends in `Launched` or `LaunchFailed`."""


@dataclass(frozen=True, slots=True)
class CallOffLaunch:
    """Give the launch up if it has made no process yet; it still reports how it ended."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch for readiness, then for liveness, until `Unwatch`."""


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Stop watching, and draining."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Keep work away until the process has none left; ends in `Drained`, or by `Unwatch`."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process and its group."""

    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill whatever descends from the process until nothing is left; ends in `TreeGone`."""


class Asker(Enum):
    """What a caller waits for."""

    SPAWN = auto()
    READY = auto()
    STOP = auto()


class Verdict(Enum):
    """How a wait ended."""

    DONE = auto()
    FAILED = auto()
    OVERRIDDEN = auto()
    STUCK = auto()
    DISMISSED = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer everybody who waits for one of `askers`; `exit` where a failure was diagnosed."""

    askers: tuple[Asker, ...]
    verdict: Verdict
    message: str = ""
    exit: Exit | None = None


class Notice(StrEnum):
    """The names under which the world hears of a life."""

    STARTING = "instance.starting"
    READY = "instance.ready"
    UNRESPONSIVE = "instance.unresponsive"
    EXITED = "instance.exited"
    BACKOFF = "instance.backoff"
    FAILED = "instance.failed"
    DRAINING = "instance.draining"
    STOPPING = "instance.stopping"
    STOPPED = "instance.stopped"
    STUCK = "instance.stuck"
    ADOPTED = "instance.adopted"
    REMOVED = "instance.removed"


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the world."""

    notice: Notice


Action: TypeAlias = (
    Launch | CallOffLaunch | Watch | Unwatch | Drain | Signal | Sweep | Answer | Tell
)
