"""Errors of the event loop while no descriptor is free."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.app import loop_errors
from comfysup.app.loop_errors import LoopErrors
from tests.scenarios.waiting import until


def exhausted() -> dict[str, object]:
    return {
        "message": "socket.accept() out of system resource",
        "exception": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        "socket": "the listening socket",
    }


async def test_a_shortage_of_descriptors_is_logged_once_and_reported_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[str | None] = []
    errors = LoopErrors(lambda _file, sentence: reports.append(sentence))
    loop = asyncio.get_running_loop()

    with capture_logs() as logs:
        for _ in range(1_000):
            errors(loop, exhausted())
        monkeypatch.setattr(loop_errors, "PERIOD", 0.0)
        errors(loop, exhausted())
        await until(lambda: reports[-1] is None)

    assert [(each["event"], each["times"]) for each in logs] == [
        ("api.out_of_descriptors", 1),
        ("api.out_of_descriptors", 1_000),
    ]
    assert str(reports[0]).startswith("cannot accept callers: Too many open files; comfysup may")


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
async def test_other_errors_are_passed_to_the_default_handler(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    def report(_file: Path, _sentence: str | None) -> None:
        raise AssertionError

    context = {"message": "a defect", "exception": OSError(number, os.strerror(number))}
    LoopErrors(report)(asyncio.get_running_loop(), context)

    assert "a defect" in caplog.text
