"""Every kind of state and of event, for tables and exhaustive tests."""

from dataclasses import dataclass
from typing import Self

from typing_extensions import override

from comfysup.supervision.life import (
    REBOOT,
    Aborting,
    AfterExit,
    Backoff,
    Draining,
    Exit,
    Failed,
    GiveUp,
    Launching,
    Life,
    Moment,
    Recover,
    Run,
    Running,
    StartAgain,
    Starting,
    State,
    StayStopped,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import (
    BecameReady,
    DeadlinePassed,
    Drained,
    Event,
    Exited,
    Launched,
    LaunchFailed,
    RestartAsked,
    StartAsked,
    StopAsked,
    TimeLost,
    TreeGone,
    Unresponsive,
    WentSilent,
)
from comfysup.supervision.stop_escalation import StopEscalation, StopStage

NOW = Moment(monotonic=1000.0, wall=1_700_000_000.0)
GENERATION = 7
LADDER = StopEscalation.of(10.0)
RUN = Run(4242, Moment(900.0, 1_699_999_900.0))
READY_RUN = Run(4242, Moment(900.0, 1_699_999_900.0), Moment(910.0, 1_699_999_910.0))
END = Exit(NOW.wall, "exited", "exited with code 1", exit_code=1)
REBOOTED = Exit(NOW.wall, REBOOT, "requested by ComfyUI", exit_code=0, expected=True)

VERDICT = ("unresponsive", "no response to 12 probes in a row")
CALM: tuple[AfterExit, ...] = (StayStopped(), StartAgain())
CRASHED: tuple[AfterExit, ...] = (*CALM, Recover(was_stable=False), Recover(was_stable=True))
"""What may follow when the process ended by itself."""
SWEPT: tuple[AfterExit, ...] = (*CRASHED, GiveUp())
"""What may follow a sweep: of what was stuck for a defect too."""
JUDGED: tuple[AfterExit, ...] = (
    *CALM,
    Recover(was_stable=False, verdict=VERDICT),
    Recover(was_stable=True, verdict=VERDICT),
)
"""What may follow when the process is ended by the supervisor."""
STATES: tuple[State, ...] = (
    Stopped(),
    Launching(),
    Aborting(StayStopped(), LADDER),
    Aborting(StartAgain(), LADDER),
    Starting(RUN, deadline=NOW.monotonic + 1),
    Running(READY_RUN, stable_at=NOW.monotonic + 1),
    Running(READY_RUN, stable_at=None),
    Draining(READY_RUN, NOW.monotonic + 1, LADDER, StayStopped()),
    Draining(READY_RUN, NOW.monotonic + 1, LADDER, StartAgain()),
    *(
        Stopping(RUN, LADDER.at(NOW.monotonic), stop_stage, then)
        for stop_stage in StopStage
        for then in JUDGED
    ),
    *(Sweeping(RUN, NOW.monotonic + 1, then) for then in SWEPT),
    Backoff(NOW.after(1.0)),
    Failed(),
    *(Stuck(RUN, then) for then in (*JUDGED, GiveUp())),
)


@dataclass(frozen=True)
class Situation:
    """A life, and a description that distinguishes its state."""

    life: Life

    @classmethod
    def of(cls, state: State, last_exit: Exit = END) -> Self:
        """A life in that state, with counts that show changes."""
        return cls(Life(state, GENERATION, 2, 2, 2, last_exit))

    @property
    def kind(self) -> str:
        return type(self.life.state).__name__

    @property
    def details(self) -> tuple[str, ...]:
        """The description that distinguishes it from others of its kind."""
        match self.life.state:
            case Running(stable_at=stable_at):
                return ("stable" if stable_at is None else "not yet stable",)
            case Stopping(stop_stage=stop_stage, then=then):
                return (f"after {stop_stage}", _words(then))
            case Aborting(then=then) | Draining(then=then) | Sweeping(then=then) | Stuck(then=then):
                return (_words(then),)
            case _:
                return ()

    @override
    def __str__(self) -> str:
        return f"{self.kind} ({', '.join(self.details)})" if self.details else self.kind


def _words(then: AfterExit) -> str:
    match then:
        case StayStopped():
            return "then stay stopped"
        case StartAgain():
            return "then start again"
        case Recover(was_stable=True):
            return "then recover from a stable run"
        case Recover():
            return "then recover"
        case GiveUp():
            return "then give up"


SITUATIONS = tuple(Situation.of(state) for state in STATES)

EVENTS: tuple[tuple[str, Event], ...] = (
    ("StartAsked", StartAsked()),
    ("RestartAsked", RestartAsked(LADDER)),
    ("RestartAsked with a drain", RestartAsked(LADDER, drain=30.0)),
    ("StopAsked", StopAsked(StopEscalation.of(5.0))),
    ("StopAsked with a drain", StopAsked(StopEscalation.of(5.0), drain=30.0)),
    ("DeadlinePassed", DeadlinePassed()),
    ("TimeLost", TimeLost(30.0)),
    ("Launched", Launched(GENERATION, 4242)),
    ("LaunchFailed", LaunchFailed(GENERATION, END)),
    ("BecameReady", BecameReady(GENERATION)),
    ("WentSilent", WentSilent(GENERATION)),
    ("Unresponsive", Unresponsive(GENERATION, "no response to 12 probes in a row")),
    ("Drained", Drained(GENERATION)),
    ("Exited", Exited(GENERATION, END)),
    ("Exited to reboot", Exited(GENERATION, REBOOTED)),
    ("TreeGone", TreeGone(GENERATION)),
)
