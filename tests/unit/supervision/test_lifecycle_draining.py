"""Drains, as decided by `step`: scenario 39."""

from comfysup.supervision.life import Draining, Phase, StayStopped, Stopped, Stopping
from comfysup.supervision.lifecycle_events import (
    Drain,
    Drained,
    Emit,
    Launch,
    LifecycleEvent,
    Resolve,
    RestartAsked,
    StopAsked,
    StrikePrompt,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.story import Story, running, starting

LADDER = StopEscalation.of(10.0)


def draining(seconds: float = 30.0) -> Story:
    story = running()
    story.happens(StopAsked(LADDER, seconds))
    story.done.clear()
    return story


def drained(story: Story) -> None:
    story.happens(Drained(story.life.generation))


def test_a_stop_with_a_drain_signals_nothing_before_the_work_is_done() -> None:
    story = running()

    actions = story.happens(StopAsked(LADDER, 30.0))

    assert Drain() in actions
    assert Emit(LifecycleEvent.DRAINING) in actions
    assert story.life.phase is Phase.DRAINING
    assert not story.signals
    drained(story)
    assert story.signals == ["SIGINT"]
    story.exits(0)
    assert Resolve((WaitFor.STOP,), WaitOutcome.DONE) in story.swept()
    assert story.life.state == Stopped()


def test_the_time_for_a_drain_ends() -> None:
    story = draining(30.0)
    began = story.now.monotonic

    story.wait_for_deadline()

    assert story.now.monotonic - began == 30.0
    assert story.signals == ["SIGINT"]
    assert StrikePrompt() in story.done


def test_a_prompt_that_ends_in_the_time_for_a_drain_has_no_strike() -> None:
    story = draining()

    drained(story)

    assert StrikePrompt() not in story.done


def test_the_grace_begins_when_the_drain_ends() -> None:
    story = draining()
    story.wait(20.0)
    drained(story)

    assert story.life.deadline == story.now.monotonic + LADDER.terminate


def test_a_restart_with_a_drain_launches_again_without_a_failure() -> None:
    story = running()
    story.happens(RestartAsked(LADDER, 30.0))
    drained(story)
    story.exits(0)

    assert Launch() in story.swept()
    assert (story.life.failures, story.life.restarts) == (0, 0)
    assert story.life.last_exit
    assert story.life.last_exit.expected


def test_a_stop_without_a_drain_ends_a_drain_immediately() -> None:
    story = draining()

    story.stop()

    assert story.signals == ["SIGINT"]
    assert isinstance(story.life.state, Stopping)


def test_a_second_drain_does_not_prolong_the_first() -> None:
    story = draining(30.0)
    story.happens(StopAsked(LADDER, 300.0))
    assert story.life.deadline == story.now.monotonic + 30.0

    story.happens(RestartAsked(LADDER, 5.0))

    assert story.life.deadline == story.now.monotonic + 5.0
    assert story.life.wanted


def test_a_start_is_carried_out_when_the_drained_one_has_ended() -> None:
    story = draining()

    story.start()

    assert story.life.phase is Phase.DRAINING
    drained(story)
    story.exits(0)
    assert Launch() in story.swept()


def test_a_stop_overrides_a_restart_that_drains() -> None:
    story = running()
    story.happens(RestartAsked(LADDER, 30.0))

    actions = story.happens(StopAsked(LADDER, 30.0))

    assert Resolve(
        (WaitFor.SPAWN, WaitFor.READY), WaitOutcome.OVERRIDDEN, "stopped while starting"
    ) in (actions)
    assert isinstance(story.life.state, Draining)
    assert story.life.state.then == StayStopped()


def test_an_exit_during_a_drain_is_unexpected_and_not_restarted() -> None:
    story = draining()

    story.crashes()

    assert story.life.state == Stopped()
    assert story.life.last_exit
    assert not story.life.last_exit.expected


def test_a_process_that_hangs_during_a_drain_is_ended() -> None:
    story = draining()

    assert Emit(LifecycleEvent.UNRESPONSIVE) in story.unresponsive()

    assert story.signals == ["SIGINT"]


def test_a_process_that_re_executes_itself_during_a_drain_is_ended() -> None:
    story = draining()

    story.silent()

    assert story.signals == ["SIGINT"]
    assert not story.life.wanted


def test_a_loading_process_has_nothing_to_drain() -> None:
    story = starting()

    story.happens(StopAsked(LADDER, 30.0))

    assert story.signals == ["SIGINT"]
