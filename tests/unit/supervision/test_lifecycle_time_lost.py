"""Gaps do not count towards deadlines; the stages of a stop keep their intervals."""

from signal import Signals

import pytest

from comfysup.model.spec import Policy
from comfysup.supervision.life import Phase, Running, Stopping, Sweeping
from comfysup.supervision.lifecycle_events import DeadlinePassed, Signal, TimeLost
from comfysup.supervision.stop_escalation import KILL_PATIENCE, StopEscalation, StopStage
from comfysup.supervision.transitions import LOOK_FIRST
from tests.unit.supervision.story import Story, backing_off, running, starting

HOUR = 3600.0


def lose(story: Story, seconds: float = HOUR) -> None:
    story.wait(seconds)
    story.happens(TimeLost(seconds))


def left(story: Story) -> float:
    assert story.life.deadline is not None
    return story.life.deadline - story.now.monotonic


def test_a_start_keeps_its_remaining_time_after_a_gap() -> None:
    story = starting(Policy(startup_timeout=600))
    story.wait(100)
    lose(story)

    assert left(story) == pytest.approx(500)
    assert story.life.phase is Phase.STARTING


def test_a_start_past_its_deadline_after_a_gap_is_probed_first() -> None:
    story = starting(Policy(startup_timeout=600))
    story.wait(600)
    lose(story)

    assert left(story) == LOOK_FIRST
    story.ready()
    assert story.life.phase is Phase.RUNNING


def test_the_probe_after_a_gap_is_limited_to_the_startup_timeout() -> None:
    story = starting(Policy(startup_timeout=2))
    story.wait(2)
    lose(story)

    assert left(story) == 2


def test_a_gap_does_not_count_towards_a_stable_run() -> None:
    story = running(Policy(stable_after=60))
    story.wait(10)
    lose(story)

    assert left(story) == pytest.approx(50)
    story.wait_for_deadline()
    before = story.life
    lose(story)
    assert isinstance(before.state, Running)
    assert before == story.life


def test_each_signal_of_a_stop_is_sent_after_its_interval() -> None:
    story = running(Policy(stop_grace=10))
    story.stop()
    story.wait(4)
    lose(story)

    assert left(story) == pytest.approx(6)
    story.wait_for_deadline()
    lose(story)
    assert left(story) == pytest.approx(5)
    story.wait_for_deadline()
    lose(story)
    assert left(story) == pytest.approx(KILL_PATIENCE)
    assert story.signals == ["SIGINT", "SIGTERM", "SIGKILL"]


def test_a_sweep_restarts_its_limit_after_a_gap() -> None:
    story = starting()
    story.exits(1)
    story.wait(4)
    lose(story)

    assert isinstance(story.life.state, Sweeping)
    assert left(story) == KILL_PATIENCE


def test_a_gap_does_not_prolong_a_back_off() -> None:
    """A back-off needs no supervision, and callers were given its end."""
    story = backing_off()
    before = story.life
    lose(story)

    assert before == story.life


def test_signals_keep_their_intervals_after_a_late_first_one() -> None:
    story = running()
    story.stop(StopEscalation.of(0.2))
    story.wait(0.2)
    story.wait(1.0)  # noticed by nobody
    actions = story.happens(DeadlinePassed())

    assert actions == (Signal(Signals.SIGTERM),)
    assert isinstance(story.life.state, Stopping)
    assert story.life.state.stop_stage is StopStage.TERMINATED
    assert left(story) == pytest.approx(0.1)
    story.wait_for_deadline()
    assert left(story) == pytest.approx(KILL_PATIENCE)
