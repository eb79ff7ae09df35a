"""Whether the process of a backlog has exited, according to the state file."""

from dataclasses import replace

import pytest

from comfysup.comfyui.output import UntoldEnd, untold_end
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.prompts import Prompt, RunningPrompt
from comfysup.supervision import life
from comfysup.supervision.life import Backoff, Exit, Launching, Life, Moment, Run, Starting, Stuck
from comfysup.supervision.life import Sweeping as Swept

NOW = Moment(0.0, 0.0)
OLD, NEW = Run(1, NOW), Run(2, NOW)
A, B = Prompt(0, "a", b"[]"), Prompt(1, "b", b"[]")
BACKLOG = Backlog(1, running=(RunningPrompt(A, 0.0),), waiting=(B,))
CRASH = Exit(0.0, "signal", "it was killed", signal="SIGKILL", prompts=("a",))
STOP = replace(CRASH, reason="stopped", expected=True)
SWEEPING = Swept(OLD, 0.0, life.StayStopped())

ENDED = [
    SWEEPING,
    Stuck(OLD, life.StayStopped(), ended=True),
    Backoff(NOW),
    Launching(),
    life.Stopped(),
    life.Failed(),
    Starting(NEW, 0.0),
    life.Running(NEW, 0.0),
]


@pytest.mark.parametrize("state", ENDED, ids=lambda state: type(state).__name__)
def test_an_unreported_crash_is_derived_from_the_state_of_the_instance(state: life.State) -> None:
    assert untold_end(BACKLOG, Life(state, last_exit=CRASH)) == UntoldEnd(crashed=True, ran="a")


@pytest.mark.parametrize(
    "state", [Starting(OLD, 0.0), life.Running(OLD, 0.0), Stuck(OLD, life.StayStopped())], ids=repr
)
def test_a_running_process_has_no_unreported_end(state: life.State) -> None:
    assert untold_end(BACKLOG, Life(state, last_exit=CRASH)) is None


def test_the_last_exit_overrides_the_older_backlog_file() -> None:
    end = replace(CRASH, prompts=("b",))

    assert untold_end(BACKLOG, Life(SWEEPING, last_exit=end)) == UntoldEnd(crashed=True, ran="b")


def test_an_unreported_stop_is_no_crash() -> None:
    assert untold_end(BACKLOG, Life(SWEEPING, last_exit=STOP)) == UntoldEnd(crashed=False, ran="a")


def test_a_prompt_in_submission_is_suspected() -> None:
    backlog = Backlog(1, owed=(A,), unconfirmed="a")

    assert untold_end(backlog, Life(SWEEPING, last_exit=CRASH)) == UntoldEnd(crashed=True, ran="a")


@pytest.mark.parametrize("end", [None, replace(CRASH, prompts=("c",)), replace(CRASH, prompts=())])
def test_an_exit_without_prompts_blames_none(end: Exit | None) -> None:
    """As after a failed launch or an internal error."""
    assert untold_end(BACKLOG, Life(Backoff(NOW), last_exit=end)) == UntoldEnd(
        crashed=False, ran=None
    )


def test_an_exit_whose_prompts_are_owed_is_not_reported_again() -> None:
    backlog = Backlog(owed=(A,), struck=frozenset("a"))

    assert untold_end(backlog, Life(Backoff(NOW), last_exit=CRASH)) is None


def test_a_process_that_re_executed_itself_has_not_exited() -> None:
    silent = replace(BACKLOG, pid=None)

    assert untold_end(silent, Life(Starting(replace(OLD, reloaded=NOW), 0.0))) is None
    end = untold_end(silent, Life(Starting(NEW, 0.0), last_exit=CRASH))
    assert end == UntoldEnd(crashed=True, ran="a")
