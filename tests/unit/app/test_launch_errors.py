"""Reason, hint and transience of errors that prevented a launch."""

import errno
import os

import pytest

from comfysup.app import launch_errors
from comfysup.linux.executor import UnresponsiveError
from comfysup.supervision.protocols import RefusedError


@pytest.mark.parametrize(
    ("number", "reason", "transient", "hint"),
    [
        (errno.EAGAIN, "spawn_failed", True, "--pids-limit"),
        (errno.EMFILE, "spawn_failed", True, "--ulimit nofile"),
        (errno.ENFILE, "spawn_failed", True, "--ulimit nofile"),
        (errno.ENOMEM, "spawn_failed", True, "memory"),
        (errno.ENOSPC, "disk_full", True, "make room"),
        (errno.EDQUOT, "disk_full", True, "make room"),
        (errno.EACCES, "spawn_failed", False, "noexec"),
        (errno.ENOENT, "spawn_failed", False, "venv"),
        (errno.E2BIG, "spawn_failed", False, "`env`"),
    ],
)
def test_a_failed_system_call_has_a_reason_and_a_hint(
    number: int, reason: str, hint: str, *, transient: bool
) -> None:
    error = launch_errors.from_os_error(OSError(number, os.strerror(number)))

    assert (error.reason, error.transient) == (reason, transient)
    assert hint in error.hint
    assert os.strerror(number) in str(error)


def test_an_unknown_error_has_no_hint_and_counts_as_a_failure() -> None:
    error = launch_errors.from_os_error(OSError("no errno"))

    assert (error.reason, error.transient, error.hint) == ("spawn_failed", False, "")


@pytest.mark.parametrize(
    ("code", "hint"),
    [("unknown_gpu", launch_errors.GPU), ("unknown_environment", launch_errors.ENVIRONMENT)],
)
def test_the_hint_of_a_refusal_is_about_what_was_refused(code: str, hint: str) -> None:
    error = launch_errors.from_refusal(RefusedError(code, "cannot start instance 0"))

    assert (error.reason, error.hint, error.transient) == ("environment_unusable", hint, False)


def test_an_unresponsive_directory_is_transient_and_named() -> None:
    error = launch_errors.from_os_error(UnresponsiveError("/workspace/ComfyUI-comm", 10.0))

    assert (error.reason, error.transient) == ("environment_unresponsive", True)
    assert str(error) == (
        "cannot start the process: /workspace/ComfyUI-comm has not answered for 10 s"
    )
