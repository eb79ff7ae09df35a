"""What supervision needs of the world, and the errors the world may answer with.

SupervisionError
├── RefusedError    nothing was started; has a `code` that callers see
└── LaunchError     starting was tried and failed; has a diagnosed `reason`
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from signal import Signals
from typing import TYPE_CHECKING, Protocol, TypeAlias

from comfysup.model.spec import InstanceSpec, Rescue
from comfysup.supervision.life import Exit, Moment
from comfysup.supervision.lifecycle_events import Blame, LifecycleEvent


@dataclass(frozen=True, slots=True)
class Condition:
    """A lasting fault that a process survives; the condition ends with the process.

    `code` is a word for programs. `message` is a sentence for people. `hint` suggests an action,
    and is empty if none is known.
    """

    code: str
    message: str
    hint: str = ""


class SupervisionError(Exception):
    """Supervision could not do what a caller requested."""


class RefusedError(SupervisionError):
    """A request that was refused before anything was started; the text is a whole sentence."""

    def __init__(self, code: str, message: str) -> None:
        """Keep `code`, one of the published codes, beside the text."""
        super().__init__(message)
        self.code = code


class LaunchError(SupervisionError):
    """A process that could not be created; `reason` is a reason code of `Exit`.

    `hint` suggests an action. `transient`: the machine lacked a resource, or a file system did not
    respond. Such an error says nothing about the instance.
    """

    def __init__(
        self, reason: str, message: str, hint: str = "", *, transient: bool = False
    ) -> None:
        """Keep the other arguments beside the text."""
        super().__init__(message)
        self.reason = reason
        self.hint = hint
        self.transient = transient


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Identifies a process for the next daemon.

    `start_time` is in clock ticks since boot. The pid and `start_time` together identify one
    process. `log_began` is the position in the log at which its output begins, empty if unknown.
    """

    pid: int
    start_time: int
    log_began: str = ""


class Process(Protocol):
    """A launched process and its descendants."""

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process's group and session."""

    @property
    def record(self) -> ProcessRecord:
        """The data by which the next daemon adopts the process."""

    def signal_group(self, number: Signals) -> None:
        """Send a signal to the process's group; does nothing if the group has no process left."""

    async def ended(self) -> Exit:
        """Wait without a time limit until the process has exited, and return how and why.

        The exit does not name the prompts of the process. May be called once.
        """

    async def recorded(self) -> None:
        """Wait, for a bounded time, until `record` is complete for the next daemon."""

    async def conditions(self) -> Sequence[Condition]:
        """Return the lasting faults found in the output of a ready process.

        Takes a bounded time. Returns nothing if the output cannot be read.
        """

    async def last_lines(self, count: int) -> Sequence[str]:
        """Return the last `count` lines of the output; empty if reading them times out."""

    async def sweep(self) -> None:
        """Kill the descendants until none is left, and release the process.

        Does nothing if the process has already been swept.
        """

    def remnants(self) -> Sequence[str]:
        """Return the names of the known live processes; nothing after `sweep`."""


class Launcher(Protocol):
    """Creates processes from specs."""

    async def check(self, spec: InstanceSpec, *, port: bool) -> None:
        """Raise `RefusedError` unless the environment of `spec` exists and is usable.

        With `port`, also raise `RefusedError`, naming the owner, unless the port of `spec` is free.
        Takes seconds at most.
        """

    async def launch(self, spec: InstanceSpec, generation: int) -> Process:
        """Create the process of `generation`.

        If cancelled before a process exists, nothing is left behind. If cancelled later, the
        process is returned. Raises `LaunchError` when no process can be created.
        """

    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> Process:
        """Adopt the process of `generation` from a daemon that is gone.

        The process may have exited: then `ended` returns how, and `sweep` kills its descendants.
        Only that process and its descendants are ever touched.
        """

    async def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        """Search for the process of a generation during whose launch a daemon died.

        Takes seconds at most.
        """


@dataclass(frozen=True, slots=True)
class LastPrompts:
    """The prompts that a process was working on when it exited.

    `blame` states whether a crash counts against these prompts.
    """

    ids: tuple[str, ...] = ()
    blame: Blame = Blame.NONE


class Drainer(Protocol):
    """Knows the work of instances, and can withhold new work from them."""

    async def drain(self, spec: InstanceSpec) -> None:
        """Withhold new work from the process of that instance; return when it has no work left.

        Raises nothing. The caller cancels it when the process exits or is stopped.
        """

    def strike(self, spec: InstanceSpec) -> None:
        """Count a strike against the running prompt, which did not end within the drain time."""

    def choose(self, spec: InstanceSpec, rescue: Rescue, *, at_end: bool) -> None:
        """Store which prompts a caller wants submitted to the next process of that instance.

        The choice applies to the prompts that the instance already owes. With `at_end` it also
        applies to those that the present process leaves.
        """

    async def last_prompts(self, spec: InstanceSpec, lines: Sequence[str]) -> LastPrompts:
        """Return the prompts that the exited process of that instance was working on.

        `lines` are the last lines of its output. Returns within two seconds, after the remaining
        messages and output of the process have been read. Raises nothing.
        """


class NothingToDrain:
    """A `Drainer` for instances that get no work."""

    async def drain(self, spec: InstanceSpec) -> None:
        pass

    def strike(self, spec: InstanceSpec) -> None:
        pass

    def choose(self, spec: InstanceSpec, rescue: Rescue, *, at_end: bool) -> None:
        pass

    async def last_prompts(self, spec: InstanceSpec, lines: Sequence[str]) -> LastPrompts:  # noqa: ARG002 - a Drainer's
        return LastPrompts()


class Finding(Enum):
    """The result of a probe of an instance's port."""

    ANSWERED = auto()
    """The process answers."""
    REFUSED = auto()
    """The port is closed: the process re-executed itself, or is about to exit."""
    SILENT = auto()
    """The process did not answer in time."""
    WORKER_DEAD = auto()
    """The process answers, but its worker thread has ended, so it executes no prompt."""
    BUSY = auto()
    """No answer in time from a process tree that works, or comfysup lacked resources to ask."""


class Probe(Protocol):
    """Probes one process of an instance."""

    async def until_ready(self) -> None:
        """Return as soon as the process, or a descendant of it, answers as ComfyUI."""

    async def ask(self, patience: float) -> Finding:
        """Probe the process once, waiting at most `patience` seconds."""


class Prober(Protocol):
    """Creates probes."""

    def probe(self, spec: InstanceSpec, pid: int) -> Probe:
        """Return a probe for the process `pid` of that instance; the probe holds nothing open."""


if TYPE_CHECKING:
    from comfysup.supervision.instance import Instance

Clock: TypeAlias = Callable[[], Moment]
Observer: TypeAlias = "Callable[[Instance, LifecycleEvent], None]"
Touched: TypeAlias = "Callable[[Instance], None]"


@dataclass(frozen=True, slots=True)
class InstanceContext:
    """The dependencies of an instance, and its callbacks.

    `lost` returns the total seconds of gaps in which the daemon did not run: see `Attention`.

    `observer` receives the published events. `touched` is called at every change of an instance,
    before the actions of that change, so the state on disk is never behind. `admitted` receives the
    spec of each start that passed all checks, before the instance takes it.
    """

    launcher: Launcher
    prober: Prober
    clock: Clock
    observer: Observer
    touched: Touched
    drainer: Drainer = field(default_factory=NothingToDrain)
    lost: Callable[[], float] = lambda: 0.0
    admitted: Callable[[InstanceSpec], None] = lambda _spec: None
