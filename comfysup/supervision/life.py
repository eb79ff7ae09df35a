"""The life of an instance as data: its states, each with what only that state knows."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, TypeAlias, assert_never

KILL_PATIENCE = 5.0
"""Seconds that the kernel gets to carry out a SIGKILL before an instance counts as stuck."""


class Phase(StrEnum):
    """The word that the outside knows a state by."""

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
        """Return the moment that many seconds later."""
        return type(self)(self.monotonic + seconds, self.wall + seconds)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, or why it could not be started; `at` is wall-clock seconds.

    `reason` is a word for programs, `message` a sentence for people, `hint` says what to do.
    Both `exit_code` and `signal` are None where nothing was executed or the kernel no longer tells.
    `permanent` says that the same command ends in the same way again.
    `prompts` are the ids of those that the process was working on, as far as that is known.
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


@dataclass(frozen=True, slots=True)
class Run:
    """The process of one generation.

    `reloaded` is when it was last seen to load anew in place, as after an `exec` of its own.
    """

    pid: int
    started: Moment
    ready: Moment | None = None
    reloaded: Moment | None = None


@dataclass(frozen=True, slots=True)
class StopEscalation:
    """How an instance is ended: SIGINT now, the rest after so many seconds each."""

    terminate: float
    kill: float
    give_up: float

    @classmethod
    def of(cls, grace: float) -> Self:
        """SIGTERM after `grace` seconds, SIGKILL after half of it more."""
        return cls(grace, 1.5 * grace, 1.5 * grace + KILL_PATIENCE)

    @classmethod
    def within(cls, seconds: float) -> Self:
        """SIGTERM at 60 %, SIGKILL at 85 % of `seconds`, at whose end it is given up."""
        return cls(0.6 * seconds, 0.85 * seconds, seconds)

    def at(self, now: float) -> Self:
        """Return the same ladder with times of the monotonic clock instead of distances."""
        return type(self)(now + self.terminate, now + self.kill, now + self.give_up)

    def later(self, seconds: float) -> Self:
        """Return the same ladder so many seconds later."""
        return type(self)(self.terminate + seconds, self.kill + seconds, self.give_up + seconds)

    def hurried(self, other: Self) -> Self:
        """Return the earlier of both for each rung."""
        return type(self)(
            min(self.terminate, other.terminate),
            min(self.kill, other.kill),
            min(self.give_up, other.give_up),
        )


# What follows once nothing of the process is left.


@dataclass(frozen=True, slots=True)
class StayStopped:
    """It stays stopped: a caller wants it so."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """It is started again without a failure: a caller, or ComfyUI itself, asked for that."""


@dataclass(frozen=True, slots=True)
class Recover:
    """It failed, and the back-off rules decide.

    `verdict` is the reason, with its sentence, where the process was ended because of it.
    `was_stable` says that the run had lasted long enough for an immediate restart.
    """

    was_stable: bool
    verdict: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It stays `failed` until a caller starts it: a defect of comfysup was met."""


AfterExit: TypeAlias = StayStopped | StartAgain | Recover | GiveUp


class StopStage(StrEnum):
    """The hardest signal sent so far."""

    INTERRUPTED = "SIGINT"
    TERMINATED = "SIGTERM"
    KILLED = "SIGKILL"


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of it lives, and nobody wants it to."""


@dataclass(frozen=True, slots=True)
class Launching:
    """Its next process is being prepared; none exists yet."""


@dataclass(frozen=True, slots=True)
class Aborting:
    """A launch is being called off; it may still turn out to have made a process."""

    then: StayStopped | StartAgain
    escalation: StopEscalation


@dataclass(frozen=True, slots=True)
class Starting:
    """Its process lives and has not answered yet."""

    run: Run
    deadline: float


@dataclass(frozen=True, slots=True)
class Running:
    """It answered as ComfyUI. `stable_at` is None once the run has been stable."""

    run: Run
    stable_at: float | None


@dataclass(frozen=True, slots=True)
class Draining:
    """It gets no more work, and is ended when it has done what it has, or at the deadline.

    `escalation` holds distances: how it is ended then.
    """

    run: Run
    deadline: float
    escalation: StopEscalation
    then: StayStopped | StartAgain


@dataclass(frozen=True, slots=True)
class Stopping:
    """Its process is being ended; `escalation` holds times of the monotonic clock."""

    run: Run
    escalation: StopEscalation
    stop_stage: StopStage
    then: AfterExit


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Its process has ended, and what that left behind is being killed."""

    run: Run
    deadline: float
    then: AfterExit


@dataclass(frozen=True, slots=True)
class Backoff:
    """It failed and is started again at `until`."""

    until: Moment


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed too often, or in a way that is not tried again; a caller must start it."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """SIGKILL did not end it. Its port stays taken; should it end after all, life goes on.

    `remnants` names what lives of it, `ended` says that the process itself does not.
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
    """All that decides what happens to an instance next.

    `generation` counts launches, `restarts` the automatic ones since a caller last started it,
    `failures` those in a row without a stable run, `backoffs` the waits made in that row.
    """

    state: State = field(default_factory=Stopped)
    generation: int = 0
    restarts: int = 0
    failures: int = 0
    backoffs: int = 0
    last_exit: Exit | None = None

    @property
    def run(self) -> Run | None:
        """The process of this generation while it, or something that it left, lives."""
        match self.state:
            case Starting(run) | Running(run) | Draining(run):
                return run
            case Stopping(run) | Sweeping(run) | Stuck(run):
                return run
            case Stopped() | Launching() | Aborting() | Backoff() | Failed():
                return None

    @property
    def phase(self) -> Phase:
        """The state as the outside knows it."""
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
        """Whether it is meant to run, now or after what is going on."""
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
        """When, on the monotonic clock, this state must be looked at again."""
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
