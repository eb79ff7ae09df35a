"""Events of an instance (`Event`), and the actions that follow (`Action`)."""

import signal
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from comfysup.model.spec import Rescue
from comfysup.supervision.life import Exit
from comfysup.supervision.stop_escalation import StopEscalation

# Requests of callers.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A caller requests a start; `rescue` selects the owed prompts to submit, None selects all."""

    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A caller requests a new process; `drain` and `rescue` as in `StopAsked`."""

    escalation: StopEscalation
    drain: float = 0.0
    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A caller requests a stop after the current work.

    The current work may take `drain` seconds at most. `rescue` selects the prompts that the next
    process receives; None applies the policy.
    """

    escalation: StopEscalation
    drain: float = 0.0
    rescue: Rescue | None = None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The deadline of the state has passed; `remnants` names the processes that SIGKILL left."""

    remnants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeLost:
    """The daemon did not run for the last `seconds` seconds."""

    seconds: float


# Reports about the process of one generation. A report of an earlier generation is ignored.


@dataclass(frozen=True, slots=True)
class Launched:
    """The process exists."""

    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """No process was created. `chance`, in [0, 1), is the jitter of a back-off.

    `transient` as in `LaunchError`.
    """

    generation: int
    exit: Exit
    chance: float = 0.0
    transient: bool = False


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The process answered as ComfyUI on its port."""

    generation: int


@dataclass(frozen=True, slots=True)
class WentSilent:
    """The process was ready and refuses connections now, because it re-executed itself."""

    generation: int


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """The process was ready and no longer works; `message` states the observation.

    The default `reason` means that the process has not answered for too long.
    """

    generation: int
    message: str
    reason: str = "unresponsive"


@dataclass(frozen=True, slots=True)
class Drained:
    """The process has no work left."""

    generation: int


class Blame(Enum):
    """Whether a prompt, rather than the instance, is responsible for a crash."""

    NONE = auto()
    """The process was working on no known prompt."""
    LIKELY = auto()
    """The process was working on a prompt."""
    CERTAIN = auto()
    """The process was working on a prompt, and had finished others before."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process exited; `blame` states whether a prompt is responsible for a crash."""

    generation: int
    exit: Exit
    blame: Blame = Blame.NONE


@dataclass(frozen=True, slots=True)
class TreeGone:
    """No descendant of the process is left. `chance` as in `LaunchFailed`."""

    generation: int
    chance: float = 0.0


Report: TypeAlias = (
    Launched | LaunchFailed | BecameReady | WentSilent | Unresponsive | Drained | Exited | TreeGone
)
Event: TypeAlias = StartAsked | RestartAsked | StopAsked | DeadlinePassed | TimeLost | Report


# Actions.


@dataclass(frozen=True, slots=True)
class Launch:
    """Create the process of this generation; results in `Launched` or `LaunchFailed`."""


@dataclass(frozen=True, slots=True)
class CallOffLaunch:
    """Cancel the launch if no process exists yet; the launch still reports its result."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch for readiness, then for liveness, until `Unwatch`."""


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Stop watching and draining."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Withhold new work until the process has none left; results in `Drained` unless unwatched."""


@dataclass(frozen=True, slots=True)
class StrikePrompt:
    """Count a strike against the running prompt, which did not end within the drain time."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process and its group."""

    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill all descendants of the process; results in `TreeGone`."""


class WaitFor(Enum):
    """The condition that a caller waits for."""

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
    """Reply to all callers that wait for one of `waits`; `exit` is set for a diagnosed failure."""

    waits: tuple[WaitFor, ...]
    verdict: WaitOutcome
    message: str = ""
    exit: Exit | None = None


class LifecycleEvent(StrEnum):
    """The published names of lifecycle events."""

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
    """Publish an event."""

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
