"""Crashes, back-off and restart policies, as decided by `step`."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from comfysup.model.spec import Policy, Restart
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import (
    Blame,
    Emit,
    Launch,
    LifecycleEvent,
    Resolve,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.restart_policy import BLAMED_RESTARTS, restart_delay
from tests.unit.supervision.story import Story, backing_off, failed, running, starting

STOPPED = Resolve((WaitFor.STOP,), WaitOutcome.DONE)

Begin: TypeAlias = Callable[[], Story]

# ---- crashes


def test_crashes_after_a_stable_run_restart_immediately_and_then_with_back_off() -> None:
    story = running(stable=True)

    assert story.crashes() == (Launch(),)
    assert story.life.restarts == 1
    waits = []
    while story.life.phase is not Phase.FAILED:
        story.comes_back(ready=True)
        story.crashes()
        waits.append(story.backoff)
    assert waits == [1, 2, 4, None]


@pytest.mark.parametrize("ready", [True, False], ids=["after ready", "before ready"])
@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_the_back_off_doubles_to_its_cap_and_jitters_by_a_tenth(
    ready: bool,  # noqa: FBT001
    chance: float,
) -> None:
    story = starting(Policy(max_failures=9))
    waits = []
    while story.life.phase is not Phase.FAILED:
        if ready and not story.life.failures:
            story.ready()
        story.crashes(chance=chance)
        if (wait := story.backoff) is not None:
            waits.append(wait)
            story.comes_back(ready=ready)

    factor = 1 + chance / 10
    assert waits == pytest.approx([s * factor for s in (1, 2, 4, 8, 16, 32, 60, 60)])
    assert story.life.failures == 9
    assert story.life.restarts == 8


def test_a_thousand_failures_do_not_overflow_the_back_off() -> None:
    assert restart_delay(Policy(), 1_000_000, chance=0) == 60


def test_a_permanent_failure_is_retried_once() -> None:
    story = starting(Policy(max_failures=5))
    story.crashes(2, permanent=True)

    assert story.life.phase is Phase.BACKOFF
    story.comes_back(ready=False)
    assert story.crashes(2, permanent=True) == (Emit(LifecycleEvent.FAILED),)
    assert (story.life.phase, story.life.restarts) == (Phase.FAILED, 1)


def test_max_failures_of_1_allows_no_restart_after_a_permanent_failure_either() -> None:
    story = starting(Policy(max_failures=1))

    assert story.crashes(2, permanent=True) == (Emit(LifecycleEvent.FAILED),)


def test_too_many_failures_end_in_failed_with_the_reason_of_the_last_exit() -> None:
    story = starting(Policy(max_failures=2))
    story.crashes(7)
    story.comes_back(ready=False)

    assert story.crashes(9) == (Emit(LifecycleEvent.FAILED),)
    assert story.life.phase is Phase.FAILED
    assert story.life.last_exit is not None
    assert story.life.last_exit.exit_code == 9
    assert story.life.deadline is None


@pytest.mark.parametrize("ready", [True, False], ids=["after ready", "before ready"])
def test_a_crash_blamed_on_a_prompt_is_no_failure_and_backs_off(
    ready: bool,  # noqa: FBT001
) -> None:
    """Also before readiness, when prompts are submitted."""
    story = starting(Policy(max_failures=2))
    waits = []
    for _ in range(4):
        if ready:
            story.ready()
        story.crashes(blame=Blame.LIKELY)
        waits.append(story.backoff)
        story.comes_back(ready=False)

    assert (story.life.failures, story.life.restarts) == (0, 4)
    assert waits == [1, 2, 4, 8]


def test_a_hang_blamed_on_a_prompt_is_no_failure() -> None:
    story = running(Policy(max_failures=1))
    story.unresponsive()

    story.crashes(blame=Blame.LIKELY)

    assert (story.life.phase, story.life.failures) == (Phase.BACKOFF, 0)


def test_too_many_blamed_crashes_in_a_row_are_failures_of_the_instance() -> None:
    """Two crashes give up one prompt; a broken instance would give up all of them."""
    story = starting(Policy(max_failures=2))
    crashes = 0
    while story.life.phase is not Phase.FAILED:
        story.crashes(blame=Blame.LIKELY)
        crashes += 1
        if story.backoff is not None:
            story.comes_back(ready=True)

    assert crashes == BLAMED_RESTARTS + 2


def test_crashes_blamed_on_prompts_never_fail_an_instance_that_finishes_others() -> None:
    story = starting(Policy(max_failures=1))
    for _ in range(3 * BLAMED_RESTARTS):
        story.crashes(blame=Blame.CERTAIN)
        story.comes_back(ready=True)

    assert story.life.failures == 0


def test_a_crash_without_a_prompt_between_blamed_ones_is_a_failure() -> None:
    story = starting(Policy(max_failures=2))
    story.crashes(blame=Blame.LIKELY)
    story.comes_back(ready=True)
    story.crashes()
    story.comes_back(ready=True)

    assert story.crashes() == (Emit(LifecycleEvent.FAILED),)


def test_an_unrequested_exit_with_0_is_a_failure() -> None:
    story = running()
    story.crashes(0)

    assert story.life.phase is Phase.BACKOFF
    assert story.life.failures == 1


def test_a_stable_run_forgets_the_failures() -> None:
    story = starting(Policy(stable_after=60))
    story.crashes()
    story.comes_back(ready=True)
    assert story.life.deadline == story.now.monotonic + 60
    story.wait_for_deadline()

    assert (story.life.failures, story.life.backoffs) == (0, 0)
    assert story.life.deadline is None


@pytest.mark.parametrize("begin", [backing_off, failed])
def test_a_manual_start_resets_failures_restarts_and_back_off(begin: Begin) -> None:
    story = begin()
    story.policy = Policy()

    assert story.start() == (Launch(),)
    assert (story.life.failures, story.life.restarts, story.life.backoffs) == (0, 0, 0)
    story.launched()
    story.crashes()
    assert story.backoff == 1


def test_a_start_during_the_sweep_after_a_crash_is_carried_out_without_a_back_off() -> None:
    story = starting()
    story.exits(1)
    story.start()

    assert story.swept()[-1] == Launch()
    assert story.life.failures == 0


def test_an_unresponsive_process_is_ended_by_escalation_and_counted_as_unresponsive() -> None:
    story = running()
    assert story.unresponsive()[0] == Emit(LifecycleEvent.UNRESPONSIVE)
    assert story.signals == ["SIGINT"]
    story.crashes(0)
    end = story.life.last_exit

    assert end is not None
    assert (end.reason, end.message) == ("unresponsive", "no response to 12 probes in a row")
    assert end.exit_code == 0
    assert end.hint == ""  # the signal that ended it was comfysup's own
    assert story.life.phase is Phase.BACKOFF


def test_an_unresponsive_process_that_was_stable_is_restarted_immediately() -> None:
    story = running(stable=True)
    story.unresponsive()

    assert story.crashes() == (Launch(),)


@pytest.mark.parametrize("begin", [starting, running])
def test_a_reboot_counts_no_failure_and_waits_for_nothing(begin: Begin) -> None:
    story = begin()
    answers = [a for a in story.exits(0, reboot=True) if isinstance(a, Resolve)]

    assert answers == []
    assert story.swept()[-1] == Launch()
    assert (story.life.failures, story.life.backoffs, story.life.restarts) == (0, 0, 0)
    assert story.life.last_exit is not None
    assert (story.life.last_exit.reason, story.life.last_exit.expected) == ("reboot", True)


def test_a_stop_overrides_a_concurrent_reboot() -> None:
    story = running()
    story.stop()
    story.exits(0, reboot=True)

    assert story.swept() == (STOPPED, Emit(LifecycleEvent.STOPPED))


def test_a_re_executed_process_is_starting_in_the_same_run() -> None:
    story = running(Policy(startup_timeout=600))
    run = story.life.run
    story.wait(5)
    story.silent()

    assert story.life.phase is Phase.STARTING
    assert story.life.deadline == story.now.monotonic + 600
    assert run is not None
    assert story.life.run is not None
    assert (story.life.run.started, story.life.run.ready) == (run.started, None)
    assert story.life.run.reloaded == story.now
    assert (story.life.generation, story.life.failures) == (1, 0)


@pytest.mark.parametrize("begin", [backing_off, failed])
def test_a_stopped_instance_counts_no_restarts_and_keeps_its_last_exit(begin: Begin) -> None:
    story = begin()
    end = story.life.last_exit
    story.stop()

    assert end is not None
    assert story.life.phase is Phase.STOPPED
    assert (story.life.restarts, story.life.failures, story.life.backoffs) == (0, 0, 0)
    assert end == story.life.last_exit


# ---- the restart policy


@pytest.mark.parametrize(
    ("restart", "code", "phase"),
    [
        (Restart.ALWAYS, 0, Phase.BACKOFF),
        (Restart.ALWAYS, 1, Phase.BACKOFF),
        (Restart.ON_FAILURE, 0, Phase.STOPPED),
        (Restart.ON_FAILURE, 1, Phase.BACKOFF),
        (Restart.NEVER, 0, Phase.STOPPED),
        (Restart.NEVER, 1, Phase.FAILED),
    ],
)
def test_the_restart_policy_decides_after_an_unasked_end(
    restart: Restart, code: int, phase: Phase
) -> None:
    story = running(Policy(restart=restart))
    story.crashes(code)

    assert story.life.phase is phase


@pytest.mark.parametrize("restart", [Restart.ON_FAILURE, Restart.NEVER])
def test_a_clean_exit_after_a_verdict_is_not_a_clean_end(restart: Restart) -> None:
    story = running(Policy(restart=restart))
    story.unresponsive()
    story.crashes(0)

    assert story.life.phase is not Phase.STOPPED


@pytest.mark.parametrize("restart", list(Restart))
def test_a_requested_restart_or_reboot_is_carried_out_under_every_policy(
    restart: Restart,
) -> None:
    asked, rebooting = running(Policy(restart=restart)), running(Policy(restart=restart))
    asked.restart()
    asked.exits(0)
    rebooting.exits(0, reboot=True)

    assert asked.swept()[-1] == Launch()
    assert rebooting.swept()[-1] == Launch()
