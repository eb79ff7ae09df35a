"""Conflicting requests, and outdated reports, as decided by `step`."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from comfysup.supervision.life import (
    Aborting,
    Exit,
    Life,
    Phase,
    StartAgain,
    StayStopped,
    Stopping,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import (
    CallOffLaunch,
    Emit,
    Exited,
    Launch,
    Launched,
    LifecycleEvent,
    Resolve,
    TreeGone,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.stop_escalation import StopEscalation
from comfysup.supervision.transitions import STARTERS
from tests.unit.supervision.story import (
    Story,
    backing_off,
    failed,
    launching,
    running,
    starting,
    stuck,
)

STOPPED = Resolve((WaitFor.STOP,), WaitOutcome.DONE)
OVERRIDDEN = Resolve(STARTERS, WaitOutcome.OVERRIDDEN, "stopped while starting")

Begin: TypeAlias = Callable[[], Story]

# ---- who wins


def test_a_stop_cancels_a_launch_and_overrides_its_callers() -> None:
    story = launching()

    assert story.stop() == (CallOffLaunch(), OVERRIDDEN, Emit(LifecycleEvent.STOPPING))
    story.cannot_launch("called_off")
    assert story.life == Life(generation=1)


def test_a_launch_cancelled_too_late_is_ended_by_the_escalation_of_its_stop() -> None:
    story = launching()
    story.stop(StopEscalation.of(4))
    story.launched()
    story.wait_for_deadline()

    assert story.signals == ["SIGINT", "SIGTERM"]
    assert story.now.monotonic == 1000 + 4


@pytest.mark.parametrize("begin", [launching, starting, running, backing_off, failed])
def test_a_stop_overrides_everything_asked_before_it(begin: Begin) -> None:
    story = begin()
    story.restart()
    story.stop()
    _drive_down(story)

    assert story.life.phase is Phase.STOPPED
    assert story.life.wanted is False


def test_a_stop_during_the_kill_of_an_unresponsive_process_stays_stopped() -> None:
    story = running()
    story.unresponsive()
    story.stop()
    _drive_down(story)

    assert story.life.phase is Phase.STOPPED
    assert story.life.failures == 0


def test_a_stop_during_the_sweep_after_a_crash_stays_stopped() -> None:
    story = running(stable=True)
    story.exits(1)
    story.stop()

    assert story.swept() == (STOPPED, Emit(LifecycleEvent.STOPPED))


def test_a_start_overridden_by_a_stop_during_a_sweep_is_resolved_as_overridden() -> None:
    story = running()
    story.exits(1)
    story.start()

    assert story.stop() == (OVERRIDDEN,)


def test_a_stop_of_a_stuck_instance_overrides_an_earlier_start() -> None:
    story = stuck()
    story.start()
    story.stop()
    story.exits(137)

    assert story.swept() == (STOPPED, Emit(LifecycleEvent.STOPPED))


def test_a_start_after_a_stop_is_carried_out_when_the_stop_has_ended() -> None:
    story = running()
    story.stop()

    assert story.start() == ()
    assert story.life.wanted is True
    story.exits(0)
    assert story.swept() == (STOPPED, Launch())
    assert story.life.generation == 2


def test_a_start_after_a_cancelled_launch_launches_again() -> None:
    story = launching()
    story.stop()
    assert story.start() == ()

    assert story.cannot_launch("called_off") == (STOPPED, Launch())
    assert story.life.failures == 0


def test_the_last_of_stop_start_stop_takes_effect_and_the_start_is_overridden() -> None:
    story = running()
    story.stop()
    story.start()

    assert story.stop() == (OVERRIDDEN,)
    _drive_down(story)
    assert story.life.phase is Phase.STOPPED


def test_a_restart_ends_the_process_and_launches_the_next_without_a_failure() -> None:
    story = running()
    story.restart()
    story.exits(1)

    assert story.swept()[-1] == Launch()
    assert (story.life.failures, story.life.restarts, story.life.generation) == (0, 0, 2)


def test_a_restart_of_an_instance_without_a_process_is_a_start() -> None:
    for begin in (Story, backing_off, failed):
        story = begin()

        assert story.restart() == (Launch(),)


def test_a_restart_during_a_launch_joins_the_launch() -> None:
    assert launching().restart() == ()


# ---- generations


def test_reports_of_an_earlier_generation_are_void() -> None:
    story = running()
    story.restart()
    story.exits(0)
    story.swept()
    before = story.life
    end = Exit(0.0, "exited", "exited with code 1", exit_code=1)

    for report in (Exited(1, end), TreeGone(1), Launched(1, 99)):
        assert story.happens(report) == ()
    assert story.life == before


def test_a_start_after_a_stop_keeps_the_escalation_in_progress() -> None:
    story = running()
    story.stop(StopEscalation.of(2))
    before = story.life.state
    story.start()

    assert isinstance(before, Stopping)
    assert isinstance(story.life.state, Stopping)
    assert (story.life.state.escalation, before.then) == (before.escalation, StayStopped())
    assert story.life.state.then == StartAgain()


def test_two_stops_of_a_launch_end_it_by_the_quicker_escalation() -> None:
    story = launching()
    story.stop(StopEscalation.of(10))
    story.stop(StopEscalation.of(2))

    assert story.life.state == Aborting(StayStopped(), StopEscalation.of(2))


def _drive_down(story: Story) -> None:
    """Complete all pending actions successfully."""
    if isinstance(story.life.state, Aborting):
        story.cannot_launch("called_off")
    if isinstance(story.life.state, Stopping):
        story.exits(0)
    if isinstance(story.life.state, Sweeping):
        story.swept()
