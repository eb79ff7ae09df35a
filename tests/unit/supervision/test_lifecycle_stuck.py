"""Processes that survive SIGKILL."""

from comfysup.supervision.life import Launching, Phase
from comfysup.supervision.lifecycle_events import (
    Emit,
    Launch,
    LifecycleEvent,
    Resolve,
    Sweep,
    WaitFor,
    WaitOutcome,
)
from tests.unit.supervision.story import Story, running, stuck


def test_a_process_that_survives_sigkill_is_stuck_and_every_caller_is_answered() -> None:
    story = running()
    story.stop()
    for _ in range(2):
        story.wait_for_deadline()
    told = Resolve(tuple(WaitFor), WaitOutcome.STUCK, "SIGKILL did not end it")

    assert story.wait_for_deadline() == (told, Emit(LifecycleEvent.STUCK))
    assert story.life.phase is Phase.STUCK
    assert story.life.run is not None
    assert story.life.deadline is None


def test_a_process_that_survives_the_sweep_is_stuck() -> None:
    story = running()
    story.exits(1)
    story.wait_for_deadline()

    assert story.life.phase is Phase.STUCK
    assert story.swept() == (Emit(LifecycleEvent.BACKOFF),)


def test_a_stuck_instance_answers_at_once_and_launches_nothing() -> None:
    for ask in (Story.start, Story.restart, Story.stop):
        story = stuck()
        answers = [action for action in ask(story) if isinstance(action, Resolve)]

        assert answers[-1].verdict is WaitOutcome.STUCK
        assert Launch() not in story.done


def test_the_later_exit_of_a_stuck_process_carries_out_the_last_request() -> None:
    resting, renewed = stuck(), stuck()
    renewed.start()
    for story in (resting, renewed):
        assert Sweep() in story.exits(137)
        story.swept()

    assert resting.life.phase is Phase.STOPPED
    assert isinstance(renewed.life.state, Launching)
