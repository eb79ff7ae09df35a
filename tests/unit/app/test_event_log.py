"""The level and the fields of instance events in the daemon's log."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from comfysup.app.reporting import log_notice
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import (
    Exit,
    Failed,
    Life,
    Moment,
    Recover,
    Run,
    State,
    StayStopped,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import LifecycleEvent
from tests.unit.supervision.fakes import spec_of

RUN = Run(42, Moment(0, 0))
CRASH = Exit(
    0.0, "missing_module", "exited with 1: no torch", 1, hint="pip install torch", prompts=("a",)
)
STOP = replace(CRASH, reason="stopped", expected=True)


@dataclass
class Seen:
    """The data of a logged event."""

    life: Life
    spec: InstanceSpec = field(default_factory=spec_of)


def logged(notice: LifecycleEvent, state: State, end: Exit | None = None) -> Mapping[str, object]:
    with capture_logs() as lines:
        log_notice(Seen(Life(state, generation=1, last_exit=end)), notice)  # type: ignore[arg-type]
    return lines[0]


@pytest.mark.parametrize(
    ("notice", "state", "level"),
    [
        (LifecycleEvent.EXITED, Sweeping(RUN, 0, Recover(was_stable=False)), "warning"),
        (LifecycleEvent.FAILED, Failed(), "error"),
    ],
)
def test_a_crash_is_a_warning_and_a_final_failure_an_error(
    notice: LifecycleEvent, state: State, level: str
) -> None:
    line = logged(notice, state, CRASH)

    assert line["log_level"] == level
    assert {name: line[name] for name in ("reason", "message", "hint", "exit_code", "prompts")} == {
        "reason": "missing_module",
        "message": "exited with 1: no torch",
        "hint": "pip install torch",
        "exit_code": 1,
        "prompts": ("a",),
    }


def test_a_requested_exit_is_not_logged_as_a_warning() -> None:
    line = logged(LifecycleEvent.EXITED, Sweeping(RUN, 0, StayStopped()), STOP)

    assert line["log_level"] == "info"
    assert (line["reason"], "hint" in line) == ("stopped", False)


def test_a_later_event_does_not_repeat_an_older_exit() -> None:
    assert "reason" not in logged(LifecycleEvent.STOPPED, Failed(), CRASH)
