"""Starts and stops, as decided by `step`."""

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.life import Backoff, Launching, Life, Phase, Stopping, Sweeping
from comfysup.supervision.lifecycle_events import (
    Emit,
    Launch,
    LifecycleEvent,
    Resolve,
    Sweep,
    WaitFor,
    WaitOutcome,
    Watch,
)
from comfysup.supervision.stop_escalation import StopEscalation
from comfysup.supervision.transitions import STARTERS
from tests.unit.supervision.story import (
    PID,
    Story,
    backing_off,
    failed,
    launching,
    running,
    starting,
)

SPAWNED = Resolve((WaitFor.SPAWN,), WaitOutcome.DONE)
STARTED = Resolve(STARTERS, WaitOutcome.DONE)
STOPPED = Resolve((WaitFor.STOP,), WaitOutcome.DONE)
OVERRIDDEN = Resolve(STARTERS, WaitOutcome.OVERRIDDEN, "stopped while starting")


# ---- starting


def test_a_start_makes_the_first_generation() -> None:
    story = Story()

    assert story.start() == (Launch(),)
    assert story.life == Life(Launching(), generation=1)


def test_a_wait_for_the_process_is_answered_before_a_wait_for_readiness() -> None:
    story = launching()

    assert story.launched() == (Watch(), SPAWNED, Emit(LifecycleEvent.STARTING))
    assert story.ready() == (STARTED, Emit(LifecycleEvent.READY))
    assert story.life.phase is Phase.RUNNING


def test_a_running_instance_has_a_start_time_and_a_time_of_readiness() -> None:
    story = launching()
    story.launched()
    born = story.now
    story.wait(5.9)
    story.ready()
    run = story.life.run

    assert run is not None
    assert (run.pid, run.started, run.ready) == (PID, born, story.now)


def test_a_second_start_joins_the_first_one() -> None:
    assert launching().start() == ()
    assert starting().start() == (SPAWNED,)
    assert running().start() == (STARTED,)


def test_a_process_that_is_not_ready_in_time_is_ended_and_counted_as_a_failure() -> None:
    story = starting(Policy(startup_timeout=30))
    assert story.life.deadline == story.now.monotonic + 30
    story.wait_for_deadline()
    assert story.life.phase is Phase.STOPPING
    assert story.signals == ["SIGINT"]
    story.exits(0)
    answer = next(action for action in story.done if isinstance(action, Resolve))
    story.swept()

    assert (answer.waits, answer.verdict) == (STARTERS, WaitOutcome.FAILED)
    assert answer.message == "not ready within 30 s"
    assert story.life.last_exit is not None
    assert story.life.last_exit.reason == "startup_timeout"
    assert story.life.failures == 1
    assert story.backoff == 1


def test_a_process_that_ends_while_loading_fails_its_callers_before_the_sweep() -> None:
    story = starting()
    told, *rest = story.exits(3)
    end = story.life.last_exit

    assert end is not None
    assert told == Resolve(STARTERS, WaitOutcome.FAILED, "exited with code 3", end)
    assert Sweep() in rest
    assert end.expected is False


def test_a_failed_launch_is_a_failure_with_its_reason_and_is_retried() -> None:
    story = launching()
    told, *_ = story.cannot_launch("too_many_files")
    assert isinstance(told, Resolve)
    assert told.message == "cannot start: too_many_files"
    assert story.life.phase is Phase.BACKOFF

    assert story.wait_for_deadline() == (Launch(),)
    assert (story.life.restarts, story.life.failures) == (1, 1)


def test_a_transient_failure_to_launch_is_retried_without_limit_and_with_back_off() -> None:
    policy = Policy(max_failures=1, backoff_initial=1, backoff_max=4)
    story = launching(policy)
    waits = []
    for _ in range(5):
        story.cannot_launch("too_many_files", transient=True)
        assert isinstance(story.life.state, Backoff)
        waits.append(story.life.state.until.monotonic - story.now.monotonic)
        assert story.wait_for_deadline() == (Launch(),)

    assert waits == [1, 2, 4, 4, 4]
    assert story.life.failures == 0
    story.cannot_launch("spawn_failed")
    assert story.life.phase is Phase.FAILED


def test_a_transient_failure_to_launch_is_not_retried_under_the_policy_never() -> None:
    story = launching(Policy(restart=Restart.NEVER))
    story.cannot_launch("too_many_files", transient=True)

    assert story.life.phase is Phase.FAILED


# ---- stopping


def test_a_stop_sends_sigint_sigterm_and_sigkill_at_their_times() -> None:
    story = running(Policy(stop_grace=10))
    asked = story.now.monotonic
    story.stop()
    times = []
    while story.life.phase is Phase.STOPPING:
        story.wait_for_deadline()
        times.append(story.now.monotonic - asked)

    assert story.signals == ["SIGINT", "SIGTERM", "SIGKILL"]
    assert times == [10, 15, 20]
    assert story.life.phase is Phase.STUCK


def test_a_process_that_ends_on_sigint_gets_no_harder_signal() -> None:
    story = running()
    story.stop()
    story.exits(0)
    assert story.life.phase is Phase.STOPPING

    assert story.swept() == (STOPPED, Emit(LifecycleEvent.STOPPED))
    assert story.signals == ["SIGINT"]
    assert story.life.last_exit is not None
    assert (story.life.last_exit.expected, story.life.last_exit.reason) == (True, "stopped")


def test_a_requested_exit_has_no_hint_about_its_signal() -> None:
    story = running()
    story.stop()
    story.exits(0, hint="a process outside comfysup sent the signal")

    assert story.life.last_exit is not None
    assert story.life.last_exit.hint == ""


def test_stopped_is_emitted_only_after_the_sweep() -> None:
    story = running()
    story.stop()
    story.exits(0)

    assert STOPPED not in story.done
    assert isinstance(story.life.state, Sweeping)
    assert story.life.phase is Phase.STOPPING


def test_an_escalation_within_a_time_has_stages_at_60_85_and_100_percent() -> None:
    assert StopEscalation.within(8) == StopEscalation(terminate=4.8, kill=6.8, give_up=8)


def test_a_second_stop_shortens_the_first_but_never_prolongs_it() -> None:
    story = running(Policy(stop_grace=10))
    story.stop()
    begun = story.now.monotonic
    story.wait(1)
    story.stop(StopEscalation.within(2))
    hurried = story.life.state
    story.stop(StopEscalation.of(1000))

    assert isinstance(hurried, Stopping)
    assert hurried.escalation == StopEscalation.within(2).at(begun + 1)
    assert story.life.state == hurried


def test_a_hurried_escalation_keeps_its_earlier_stages() -> None:
    assert StopEscalation(1, 20, 30).hurried(StopEscalation(2, 3, 40)) == StopEscalation(1, 3, 30)


def test_a_stop_of_a_stopped_instance_returns_immediately() -> None:
    assert Story().stop() == (STOPPED,)
    assert backing_off().stop() == (STOPPED, Emit(LifecycleEvent.STOPPED))
    assert failed().stop() == (STOPPED, Emit(LifecycleEvent.STOPPED))
