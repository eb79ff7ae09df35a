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
from comfysup.supervision.events import Blame, LifecycleEvent
from comfysup.supervision.life import Exit, Moment


@dataclass(frozen=True, slots=True)
class Condition:
    """A lasting fault that a process survives; it belongs to that process and ends with it.

    `code` is a word for programs, `message` a sentence for people, `hint` says what to do and is
    empty where that is not known.
    """

    code: str
    message: str
    hint: str = ""


class SupervisionError(Exception):
    """Supervision could not do what was asked."""


class RefusedError(SupervisionError):
    """A request that was refused before anything was started; the text is a whole sentence."""

    def __init__(self, code: str, message: str) -> None:
        """Keep `code`, one of the codes that callers see, beside the text."""
        super().__init__(message)
        self.code = code


class LaunchError(SupervisionError):
    """A process that could not be made; `reason` is a reason code of `Exit`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep `reason` beside the text."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended, as the launcher's diagnosis sees it."""

    exit: Exit
    reboot: bool


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """By what the next daemon knows a process again.

    `start_time` is in clock ticks since boot, and with the pid names one process for good.
    `log_began` is where its output begins in its log, empty where that is not known.
    """

    pid: int
    start_time: int
    log_began: str = ""


class Process(Protocol):
    """A process that was launched, with whatever descends from it."""

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group and session too."""

    @property
    def record(self) -> ProcessRecord:
        """What the next daemon must know to adopt it."""

    def signal_group(self, number: Signals) -> None:
        """Send a signal to its whole group; nothing happens when none of it is left."""

    async def ended(self) -> Ending:
        """Wait until it has ended, however long that takes; may be called once."""

    async def recorded(self) -> None:
        """Wait until `record` holds all that the next daemon needs, but for a bounded time."""

    async def conditions(self) -> Sequence[Condition]:
        """Return what is wrong with it though it is ready, as far as its output tells.

        Takes a bounded time; nothing where its output cannot be read.
        """

    async def last_lines(self, count: int) -> Sequence[str]:
        """Return the last lines of its output, in a bounded time; none where they stay away."""

    async def sweep(self) -> None:
        """Kill what descends from it until nothing is left, and let go of it.

        Does nothing when that has been done.
        """

    def remnants(self) -> Sequence[str]:
        """Name what lives of it, as far as known; nothing after `sweep`."""


class Launcher(Protocol):
    """Makes processes of specs."""

    async def check(self, spec: InstanceSpec, *, port: bool) -> None:
        """Raise `RefusedError` unless the environment of that spec is there and usable.

        With `port` also, naming who has it, unless the port of that spec is free. It takes seconds
        at most.
        """

    async def launch(self, spec: InstanceSpec, generation: int) -> Process:
        """Make the process of that generation.

        Cancelling it before there is a process leaves nothing behind; once there is one it is
        returned. Raises `LaunchError`.
        """

    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> Process:
        """Take over the process of that generation from a daemon that is gone.

        Also when it has ended: then `ended` says so, and `sweep` ends what it left. Nothing but
        that process and what descends from it is ever touched.
        """

    async def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        """Look for the process of a generation in whose launch a daemon died.

        It takes seconds at most.
        """


@dataclass(frozen=True, slots=True)
class LastPrompts:
    """What a process that ended was working on.

    `blame` says whether a crash is counted against these prompts.
    """

    ids: tuple[str, ...] = ()
    blame: Blame = Blame.NONE


class Drainer(Protocol):
    """Knows the work of instances, and keeps work away from them."""

    async def drain(self, spec: InstanceSpec) -> None:
        """Give the process of that instance no more work; return when it has none left.

        Raises nothing. Cancelled when the process has ended, or is ended.
        """

    def strike(self, spec: InstanceSpec) -> None:
        """Count a strike against the prompt that runs: it outlasted the time for a drain."""

    def choose(self, spec: InstanceSpec, rescue: Rescue, *, at_end: bool) -> None:
        """Hear which prompts a caller wants handed in to the next process of that instance.

        Of those that it owes from before, and `at_end` of those that its process leaves.
        """

    async def last_prompts(self, spec: InstanceSpec, lines: Sequence[str]) -> LastPrompts:
        """Return what the process of that instance, which has ended, was working on.

        `lines` are the last of its output. Returns within two seconds: what the process had still
        sent and written is read before. Raises nothing.
        """


class NothingToDrain:
    """A `Drainer` for instances that nobody gives work to."""

    async def drain(self, spec: InstanceSpec) -> None:
        pass

    def strike(self, spec: InstanceSpec) -> None:
        pass

    def choose(self, spec: InstanceSpec, rescue: Rescue, *, at_end: bool) -> None:
        pass

    async def last_prompts(self, spec: InstanceSpec, lines: Sequence[str]) -> LastPrompts:  # noqa: ARG002 - a Drainer's
        return LastPrompts()


class Finding(Enum):
    """What a probe found on the port of an instance."""

    ANSWERED = auto()
    """It answers."""
    REFUSED = auto()
    """Nobody listens: it re-executed itself, or is about to end."""
    SILENT = auto()
    """No answer in time."""
    WORKER_DEAD = auto()
    """It answers, and what it is given is not executed: its worker thread has ended."""
    BUSY = auto()
    """No answer in time, but the process tree has worked since the last look."""


class Probe(Protocol):
    """Asks one process of an instance how it is."""

    async def until_ready(self) -> None:
        """Return as soon as the process, or one that descends from it, answers as ComfyUI."""

    async def ask(self, patience: float) -> Finding:
        """Ask once whether it lives, waiting at most `patience` seconds."""


class Prober(Protocol):
    """Makes probes."""

    def probe(self, spec: InstanceSpec, pid: int) -> Probe:
        """Return a probe for the process `pid` of that instance; it holds nothing open."""


if TYPE_CHECKING:
    from comfysup.supervision.instance import Instance

Clock: TypeAlias = Callable[[], Moment]
Observer: TypeAlias = "Callable[[Instance, LifecycleEvent], None]"
Touched: TypeAlias = "Callable[[Instance], None]"


@dataclass(frozen=True, slots=True)
class InstanceContext:
    """The means of an instance, and its listeners.

    `lost` says for how many seconds, all together, nothing was looked at: see `Attention`.

    `observer` hears of what the outside should know. `touched` is called at every change of an
    instance, before anything is done that follows from it: what it writes down is never behind.
    `admitted` hears each spec with which somebody starts an instance, once nothing refuses it and
    before the instance has it.
    """

    launcher: Launcher
    prober: Prober
    clock: Clock
    observer: Observer
    touched: Touched
    drainer: Drainer = field(default_factory=NothingToDrain)
    lost: Callable[[], float] = lambda: 0.0
    admitted: Callable[[InstanceSpec], None] = lambda _spec: None
