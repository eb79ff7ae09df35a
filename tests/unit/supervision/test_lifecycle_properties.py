"""Invariants of a life under any sequence of requests and events."""

from dataclasses import replace
from signal import Signals
from typing import TypeAlias, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.life import (
    REBOOT,
    Aborting,
    Backoff,
    Draining,
    Exit,
    Launching,
    Life,
    Moment,
    Phase,
    Running,
    Stopped,
    Stopping,
    Sweeping,
)
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import (
    BecameReady,
    DeadlinePassed,
    Drained,
    Event,
    Exited,
    Launch,
    Launched,
    LaunchFailed,
    Report,
    Resolve,
    RestartAsked,
    StartAsked,
    StopAsked,
    TimeLost,
    TreeGone,
    Unresponsive,
    WaitFor,
    WentSilent,
)
from comfysup.supervision.stop_escalation import StopEscalation, StopStage
from tests.unit.supervision.surroundings import Surroundings

Wish: TypeAlias = StartAsked | RestartAsked | StopAsked

POLICIES = st.builds(
    Policy,
    startup_timeout=st.sampled_from([0.0, 5.0, 600.0]),
    stop_grace=st.sampled_from([0.0, 1.0, 10.0]),
    backoff_initial=st.sampled_from([0.0, 1.0]),
    max_failures=st.integers(1, 5),
    stable_after=st.sampled_from([0.0, 60.0]),
    restart=st.sampled_from(Restart),
)
LADDERS = st.one_of(
    st.builds(StopEscalation.of, st.sampled_from([0.0, 1.0, 10.0])),
    st.builds(StopEscalation.within, st.sampled_from([0.0, 8.0, 25.0])),
)
DRAINS = st.sampled_from([0.0, 0.0, 0.5, 30.0])
WISHES = st.one_of(
    st.just(StartAsked()),
    st.builds(RestartAsked, LADDERS, DRAINS),
    st.builds(StopAsked, LADDERS, DRAINS),
)
STARTERS = st.sampled_from([WaitFor.SPAWN, WaitFor.READY])
CHANCES = st.sampled_from([0.0, 0.5, 0.999])

HARDER = (Signals.SIGINT, Signals.SIGTERM, Signals.SIGKILL)
HEARD = st.booleans()
"""Whether a report is dealt with at once, or something else comes first."""
FIRST = Moment(monotonic=1000.0, wall=1_700_000_000.0)


class AnyLife(RuleBasedStateMachine):
    """A life under random requests and events."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.policy = Policy()
        self.now = FIRST
        self.context = Surroundings()
        self.waiting: dict[int, WaitFor] = {}
        self.asked = 0
        self.answered = 0
        self.transient_failures = 0
        self.wish: Wish | None = None
        self.ready_generation = 0
        self.past: list[Event] = []

    # ---- how an instance lives

    def lives_through(self, event: Event) -> None:
        before = self.life
        self.life, actions = step(before, event, self.now, self.policy)
        if isinstance(event, BecameReady | WentSilent):
            self.ready_generation = event.generation if isinstance(event, BecameReady) else 0
        self.never_counts_back(before)
        for action in actions:
            if isinstance(action, Launch):
                assert not isinstance(self.wish, StopAsked | None), "launched after a stop"
            if isinstance(action, Resolve):
                self.answers(action)
            self.context.perform(action)

    def answers(self, answer: Resolve) -> None:
        kept = {n: wait_for for n, wait_for in self.waiting.items() if wait_for not in answer.waits}
        self.answered += len(self.waiting) - len(kept)
        self.waiting = kept

    def never_counts_back(self, before: Life) -> None:
        assert self.life.generation in (before.generation, before.generation + 1)
        if self.life.generation != before.generation:
            assert isinstance(self.life.state, Launching)

    def asks(self, event: Wish, wait_for: WaitFor) -> None:
        self.asked += 1
        self.waiting[self.asked] = wait_for
        self.wish = event
        self.lives_through(event)

    def reports(self, event: Event, *, heard: bool) -> None:
        self.context.inbox.append(event)
        self.past.append(event)
        while heard and self.context.inbox:
            self.the_next_report_is_heard()

    # ---- callers

    @initialize(policy=POLICIES)
    def has_a_policy(self, policy: Policy) -> None:
        self.policy = policy

    @rule(event=WISHES, starter=STARTERS)
    def a_caller_asks(self, event: Wish, starter: WaitFor) -> None:
        self.asks(event, WaitFor.STOP if isinstance(event, StopAsked) else starter)

    # ---- the world

    @rule()
    @precondition(lambda self: self.context.inbox)
    def the_next_report_is_heard(self) -> None:
        self.lives_through(self.context.inbox.popleft())

    @rule(heard=HEARD)
    @precondition(lambda self: self.context.launching)
    def a_process_is_made(self, *, heard: bool) -> None:
        self.context.launching = False
        self.context.process = self.context.descendants = True
        self.reports(Launched(self.life.generation, 4242), heard=heard)

    @rule(chance=CHANCES, transient=st.booleans(), heard=HEARD)
    @precondition(lambda self: self.context.launching)
    def no_process_can_be_made(self, chance: float, *, transient: bool, heard: bool) -> None:
        self.context.launching = False
        self.transient_failures += transient
        end = Exit(self.now.wall, "called_off" if self.context.called_off else "no_memory", "none")
        self.reports(LaunchFailed(self.life.generation, end, chance, transient), heard=heard)

    @rule(heard=HEARD)
    @precondition(lambda self: self.context.watched and not self.context.seems_ready)
    def it_answers(self, *, heard: bool) -> None:
        self.context.seems_ready = True
        self.reports(BecameReady(self.life.generation), heard=heard)

    @rule(heard=HEARD)
    @precondition(lambda self: self.context.watched and self.context.seems_ready)
    def it_re_executes_itself(self, *, heard: bool) -> None:
        self.context.seems_ready = False
        self.reports(WentSilent(self.life.generation), heard=heard)

    @rule(heard=HEARD)
    @precondition(lambda self: self.context.watched and self.context.seems_ready)
    def it_hangs(self, *, heard: bool) -> None:
        self.reports(Unresponsive(self.life.generation, "no answer"), heard=heard)

    @rule(heard=HEARD)
    @precondition(lambda self: self.context.draining)
    def it_has_done_its_work(self, *, heard: bool) -> None:
        self.context.draining = False
        self.reports(Drained(self.life.generation), heard=heard)

    @rule(code=st.sampled_from([0, 1, None]), reboot=st.booleans(), heard=HEARD)
    @precondition(lambda self: self.context.process)
    def it_ends(self, code: int | None, *, reboot: bool, heard: bool) -> None:
        self.context.process = False
        reason = REBOOT if reboot else "exited"
        end = Exit(self.now.wall, reason, "exited", exit_code=code, expected=reboot)
        self.reports(Exited(self.life.generation, end), heard=heard)

    @rule(chance=CHANCES, heard=HEARD)
    @precondition(lambda self: self.context.sweeping)
    def nothing_is_left(self, chance: float, *, heard: bool) -> None:
        self.context.sweeping = self.context.descendants = False
        self.reports(TreeGone(self.life.generation, chance), heard=heard)

    @rule(steps=st.integers(1, 6))
    def the_world_is_kind(self, steps: int) -> None:
        for _ in range(steps):
            self.the_world_is_kind_once()

    @rule()
    @precondition(lambda self: self.context.process)
    def it_crashes_and_leaves_nothing(self) -> None:
        self.it_ends(1, reboot=False, heard=True)
        if self.context.sweeping:
            self.nothing_is_left(0.0, heard=True)

    @rule(data=st.data())
    @precondition(lambda self: self.past)
    def a_stale_report_changes_nothing(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.past))
        assert isinstance(event, get_args(Report))
        if event.generation == self.life.generation:
            event = replace(event, generation=event.generation - 1)

        assert step(self.life, event, self.now, self.policy) == (self.life, ())

    # ---- the clock

    @rule(seconds=st.sampled_from([0.001, 0.5, 5.0, 70.0]))
    def time_goes_by_unnoticed(self, seconds: float) -> None:
        self.now = self.now.after(seconds)

    @rule(seconds=st.sampled_from([1.0, 70.0, 10_000.0]))
    def nobody_looks_for_a_while(self, seconds: float) -> None:
        """A gap keeps the remaining time of each deadline, and changes nothing else."""
        before, left = self.life, self.left
        self.now = self.now.after(seconds)
        self.lives_through(TimeLost(seconds))

        assert replace(self.life, state=before.state) == before
        assert type(self.life.state) is type(before.state)
        if left is not None and self.left is not None and not isinstance(before.state, Backoff):
            assert self.left >= left - 1e-6

    @property
    def left(self) -> float | None:
        """Seconds until the deadline."""
        deadline = self.life.deadline
        return None if deadline is None else deadline - self.now.monotonic

    @rule()
    @precondition(lambda self: self.life.deadline is not None)
    def the_deadline_passes(self) -> None:
        before = self.life
        assert before.deadline is not None
        self.now = self.now.after(max(0.0, before.deadline - self.now.monotonic))
        self.lives_through(DeadlinePassed())

        assert self.moved_on(before), "a deadline that passes for ever"

    def moved_on(self, before: Life) -> bool:
        """Return whether the new deadline is none, later, or that of a later stage or state."""
        if self.life.deadline is None or self.life.deadline > self.now.monotonic:
            return True
        if isinstance(before.state, Stopping) and isinstance(self.life.state, Stopping):
            return list(StopStage).index(self.life.state.stop_stage) > list(StopStage).index(
                before.state.stop_stage
            )
        return type(before.state) is not type(self.life.state)

    # ---- what always holds

    @invariant()
    def what_is_said_is_true(self) -> None:
        if self.life.phase in (Phase.STOPPED, Phase.BACKOFF, Phase.FAILED):
            assert self.context.empty
        if self.life.phase is Phase.RUNNING:
            assert self.ready_generation == self.life.generation
        if not self.context.empty and not isinstance(self.life.state, Launching | Aborting):
            assert self.life.run is not None

    @invariant()
    def it_is_wanted_unless_a_stop_came_last_or_its_policy_ended_it(self) -> None:
        if isinstance(self.wish, StopAsked) or self.wish is None:
            assert not self.life.wanted
        elif not self.life.wanted:
            assert isinstance(self.life.state, Stopped)
            assert self.policy.restart is not Restart.ALWAYS

    @invariant()
    def failures_never_exceed_what_the_policy_allows(self) -> None:
        assert 0 <= self.life.failures <= self.policy.max_failures
        assert 0 <= self.life.backoffs <= self.life.failures + self.transient_failures

    @invariant()
    def no_signal_comes_before_the_gentler_ones(self) -> None:
        sent = tuple(self.context.signals)

        assert sent == HARDER[: len(sent)]

    @invariant()
    def every_caller_is_answered_once_or_what_it_waits_for_is_under_way(self) -> None:
        assert self.answered + len(self.waiting) == self.asked
        waiting = set(self.waiting.values())
        phase = self.life.phase
        if phase in (Phase.STOPPED, Phase.RUNNING, Phase.BACKOFF, Phase.FAILED, Phase.STUCK):
            assert not waiting
        if phase is Phase.STARTING:
            assert WaitFor.STOP not in waiting
        if self.life.run is not None and phase is Phase.STARTING:
            assert WaitFor.SPAWN not in waiting
        if phase in (Phase.DRAINING, Phase.STOPPING) and not self.life.wanted:
            assert waiting <= {WaitFor.STOP}

    @invariant()
    def a_state_that_waits_for_nothing_else_has_a_deadline(self) -> None:
        if isinstance(self.life.state, Backoff | Draining | Stopping | Sweeping):
            assert self.life.deadline is not None

    @override
    def teardown(self) -> None:
        """From every state the last request is reached, and every caller is answered."""
        for _ in range(30):
            if not self.the_world_is_kind_once():
                break
        state = self.life.state

        assert not self.waiting
        assert self.answered == self.asked
        if isinstance(self.wish, StopAsked) or self.wish is None:
            assert state == Stopped()
        elif self.life.phase not in (Phase.FAILED, Phase.STOPPED):
            assert isinstance(state, Running)

    def the_world_is_kind_once(self) -> bool:
        """Carry out the next pending event; return False if there is none."""
        context = self.context
        if context.inbox:
            self.the_next_report_is_heard()
        elif context.launching and context.called_off:
            self.no_process_can_be_made(0.0, transient=False, heard=True)
        elif context.launching:
            self.a_process_is_made(heard=True)
        elif context.sweeping:
            self.nothing_is_left(0.0, heard=True)
        elif context.draining:
            self.it_has_done_its_work(heard=True)
        elif context.process and context.signals:
            self.it_ends(0, reboot=False, heard=True)
        elif context.watched and not context.seems_ready:
            self.it_answers(heard=True)
        elif isinstance(self.life.state, Backoff):
            self.the_deadline_passes()
        else:
            return False
        return True


AnyLife.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyLife = AnyLife.TestCase
