"""What happens to an instance (`Event`), and what is done about it (`Action`)."""

import signal
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from comfysup.model.spec import Rescue
from comfysup.supervision.life import Exit, StopEscalation

# What callers ask for.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A caller wants it to run; `rescue` is which prompts it owes are handed in, None for all."""

    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A caller wants it to run from a new process; `drain` and `rescue` as in `StopAsked`."""

    escalation: StopEscalation
    drain: float = 0.0
    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A caller wants it to end, once it has done what it works on.

    For that it gets `drain` seconds at most. `rescue` is which of its prompts the next process is
    given, None to leave that to the policy.
    """

    escalation: StopEscalation
    drain: float = 0.0
    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The deadline of its state has come; `remnants` names what lives of a process being killed."""

    remnants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeLost:
    """For so many seconds until now comfysup did not look at anything."""

    seconds: float


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
    """The process was ready and does its work no more; `message` says what was seen.

    It has not answered for too long, or its `reason` is another.
    """

    generation: int
    message: str
    reason: str = "unresponsive"


@dataclass(frozen=True, slots=True)
class Drained:
    """The process works on nothing any more."""

    generation: int


class Blame(Enum):
    """Whether a prompt, and so not the instance, is responsible for a crash."""

    NONE = auto()
    """No prompt is known that the process was working on."""
    LIKELY = auto()
    """It was working on one."""
    CERTAIN = auto()
    """It was working on one, and had done others before."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended; `reboot` when ComfyUI asked to be started again.

    `blame` says whether a prompt is held responsible for a crash.
    """

    generation: int
    exit: Exit
    reboot: bool = False
    blame: Blame = Blame.NONE


@dataclass(frozen=True, slots=True)
class TreeGone:
    """Nothing that the process left behind lives any more. `chance` as in `LaunchFailed`."""

    generation: int
    chance: float = 0.0


Report: TypeAlias = (
    Launched | LaunchFailed | BecameReady | WentSilent | Unresponsive | Drained | Exited | TreeGone
)
Event: TypeAlias = StartAsked | RestartAsked | StopAsked | DeadlinePassed | TimeLost | Report


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
class StrikePrompt:
    """Count a strike against the prompt that runs: it did not end in the time for a drain."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process and its group."""

    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill whatever descends from the process until nothing is left; ends in `TreeGone`."""


class WaitFor(Enum):
    """What a caller waits for."""

    SPAWN = auto()
    READY = auto()
    STOP = auto()


class WaitOutcome(Enum):
    """How a wait ended."""

    DONE = auto()
    FAILED = auto()
    OVERRIDDEN = auto()
    STUCK = auto()
    DISMISSED = auto()


@dataclass(frozen=True, slots=True)
class Resolve:
    """Answer everybody who waits for one of `waits`; `exit` where a failure was diagnosed."""

    waits: tuple[WaitFor, ...]
    verdict: WaitOutcome
    message: str = ""
    exit: Exit | None = None


class LifecycleEvent(StrEnum):
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
class Emit:
    """Tell the world."""

    notice: LifecycleEvent


Action: TypeAlias = (
    Launch
    | CallOffLaunch
    | Watch
    | Unwatch
    | Drain
    | StrikePrompt
    | Signal
    | Sweep
    | Resolve
    | Emit
)
