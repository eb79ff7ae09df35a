"""The life of an instance as data: each state holds the values that only that state has."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, TypeAlias, assert_never

from comfysup.supervision.stop_escalation import StopEscalation, StopStage

REBOOT = "reboot"
"""The reason of an exit by which ComfyUI asked to be started again."""


class Phase(StrEnum):
    """The published name of a state."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks, in seconds: `monotonic` decides, `wall` is only shown."""

    monotonic: float
    wall: float

    def after(self, seconds: float) -> Self:
        """Return the moment `seconds` seconds later."""
        return type(self)(self.monotonic + seconds, self.wall + seconds)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process exited, or why it could not be started; `at` is wall-clock seconds.

    `reason` is a code for programs. `message` is a sentence for people. `hint` suggests an action.
    Both `exit_code` and `signal` are None if nothing was executed or the exit status is
    unavailable. `expected` means that a caller, or ComfyUI itself, requested the exit.
    `permanent` means that the same command fails in the same way again. `prompts` are the known
    ids of the prompts that the process was working on.
    """

    at: float
    reason: str
    message: str
    exit_code: int | None = None
    signal: str | None = None
    expected: bool = False
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    permanent: bool = False
    prompts: tuple[str, ...] = ()

    @property
    def reboot(self) -> bool:
        """Whether ComfyUI asked to be started again."""
        return self.reason == REBOOT


@dataclass(frozen=True, slots=True)
class Run:
    """The process of one generation.

    `reloaded` is the last time at which the process reloaded in place, for example by an `exec`.
    """

    pid: int
    started: Moment
    ready: Moment | None = None
    reloaded: Moment | None = None


# What follows once no process of the generation is left.


@dataclass(frozen=True, slots=True)
class StayStopped:
    """The instance stays stopped, as a caller requested."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """The instance starts again without a failure, as a caller or ComfyUI requested."""


@dataclass(frozen=True, slots=True)
class Recover:
    """The instance failed, and the back-off rules decide.

    `verdict` is the reason and message if comfysup ended the process for them. `was_stable` means
    that the run lasted long enough for an immediate restart.
    """

    was_stable: bool
    verdict: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The instance stays `failed` until a caller starts it, because of an internal error."""


AfterExit: TypeAlias = StayStopped | StartAgain | Recover | GiveUp


@dataclass(frozen=True, slots=True)
class Stopped:
    """No process is left, and no caller wants one."""


@dataclass(frozen=True, slots=True)
class Launching:
    """The next process is being prepared; none exists yet."""


@dataclass(frozen=True, slots=True)
class Aborting:
    """A launch is being cancelled; it may still have created a process."""

    then: StayStopped | StartAgain
    escalation: StopEscalation


@dataclass(frozen=True, slots=True)
class Starting:
    """The process lives and has not answered yet."""

    run: Run
    deadline: float


@dataclass(frozen=True, slots=True)
class Running:
    """The process answered as ComfyUI. `stable_at` is None once the run has been stable."""

    run: Run
    stable_at: float | None


@dataclass(frozen=True, slots=True)
class Draining:
    """The process gets no new work, and is stopped when it is idle or at the deadline.

    `escalation` holds offsets from the beginning of that stop.
    """

    run: Run
    deadline: float
    escalation: StopEscalation
    then: StayStopped | StartAgain


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is being stopped; `escalation` holds times of the monotonic clock."""

    run: Run
    escalation: StopEscalation
    stop_stage: StopStage
    then: AfterExit


@dataclass(frozen=True, slots=True)
class Sweeping:
    """The process exited, and its descendants are being killed."""

    run: Run
    deadline: float
    then: AfterExit


@dataclass(frozen=True, slots=True)
class Backoff:
    """The instance failed and is restarted at `until`."""

    until: Moment


@dataclass(frozen=True, slots=True)
class Failed:
    """The instance failed too often or permanently; a caller must start it."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """SIGKILL did not end the process tree. The port stays taken until the tree ends.

    `then` applies if the tree ends later. `remnants` names the live processes. `ended` means that
    the process itself has exited.
    """

    run: Run
    then: AfterExit
    remnants: tuple[str, ...] = ()
    ended: bool = False


State: TypeAlias = (
    Stopped
    | Launching
    | Aborting
    | Starting
    | Running
    | Draining
    | Stopping
    | Sweeping
    | Backoff
    | Failed
    | Stuck
)


@dataclass(frozen=True, slots=True)
class Life:
    """All data that decides the next transition of an instance.

    `generation` counts launches. `restarts` counts the automatic restarts since a caller last
    started the instance. `failures` counts those in a row without a stable run. `backoffs` counts
    the back-off waits in that row.
    """

    state: State = field(default_factory=Stopped)
    generation: int = 0
    restarts: int = 0
    failures: int = 0
    backoffs: int = 0
    last_exit: Exit | None = None

    @property
    def run(self) -> Run | None:
        """The process of this generation while it, or a descendant of it, lives."""
        match self.state:
            case Starting(run) | Running(run) | Draining(run):
                return run
            case Stopping(run) | Sweeping(run) | Stuck(run):
                return run
            case Stopped() | Launching() | Aborting() | Backoff() | Failed():
                return None

    @property
    def phase(self) -> Phase:
        """The published name of the state."""
        match self.state:
            case Stopped():
                return Phase.STOPPED
            case Launching() | Starting():
                return Phase.STARTING
            case Running():
                return Phase.RUNNING
            case Draining():
                return Phase.DRAINING
            case Aborting() | Stopping() | Sweeping():
                return Phase.STOPPING
            case Backoff():
                return Phase.BACKOFF
            case Failed():
                return Phase.FAILED
            case Stuck():
                return Phase.STUCK
            case _:
                assert_never(self.state)

    @property
    def wanted(self) -> bool:
        """Whether the instance is meant to run, now or after the present state."""
        match self.state:
            case (
                Stopped()
                | Aborting(StayStopped())
                | Draining(then=StayStopped())
                | Stopping(then=StayStopped())
            ):
                return False
            case Sweeping(then=StayStopped()) | Stuck(then=StayStopped()):
                return False
            case _:
                return True

    @property
    def deadline(self) -> float | None:
        """The monotonic time at which this state ends or changes; None without a deadline."""
        match self.state:
            case Starting(deadline=deadline) | Draining(deadline=deadline):
                return deadline
            case Sweeping(deadline=deadline):
                return deadline
            case Running(stable_at=stable_at):
                return stable_at
            case Stopping(escalation=escalation, stop_stage=stop_stage):
                return {
                    StopStage.INTERRUPTED: escalation.terminate,
                    StopStage.TERMINATED: escalation.kill,
                    StopStage.KILLED: escalation.give_up,
                }[stop_stage]
            case Backoff(until):
                return until.monotonic
            case Stopped() | Launching() | Aborting() | Failed() | Stuck():
                return None
