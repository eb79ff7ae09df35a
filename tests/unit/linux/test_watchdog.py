"""Unresponsive resources are reported in the log and in `troubles`."""

import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typing_extensions import override

from comfysup.linux import watchdog as watchdogs
from comfysup.linux.watchdog import LOOP, Stall, Watchdog
from tests.scenarios.waiting import HANG, until

DEAD = "stalled: /mnt"


class Listening(threading.Event):
    """The wait of a watchdog's thread between two checks of the loop; `times` counts."""

    times = 0

    @override
    def wait(self, timeout: float | None = None) -> bool:
        self.times += 1
        return super().wait(timeout)


class Dog:
    """A watchdog with scripted stalls, and its reports."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self.troubles: dict[Path, str] = {}
        self.said: list[str | None] = []
        self.watchdog = Watchdog(lambda: self.stalls, self.report)
        self.watchdog._ended = self.listening = Listening()

    async def until_listened(self, times: int) -> None:
        """Wait until its thread has checked the loop that many times."""
        asked = self.listening.times
        await until(lambda: self.listening.times > asked + times)

    def report(self, file: Path, sentence: str | None) -> None:
        self.said.append(sentence)
        if sentence:
            self.troubles[file] = sentence
        else:
            self.troubles.pop(file, None)


@pytest.fixture
async def dog(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dog]:
    monkeypatch.setattr(watchdogs, "BEAT", 0.01)
    one = Dog()
    one.watchdog.start()
    yield one
    one.watchdog.close()


async def test_a_stall_is_reported_until_it_ends(dog: Dog) -> None:
    dog.stalls = [Stall(DEAD, "/mnt has not answered", 5.0)]
    await until(lambda: dog.troubles)
    assert dog.troubles == {Path(DEAD): "/mnt has not answered for 4 s"}
    dog.stalls = []

    await until(lambda: not dog.troubles)
    assert dog.said == ["/mnt has not answered for 4 s", None]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(2.0, 2), (3.9, 2), (4.1, 4), (8.0, 8), (100.0, 64)]
)
def test_the_reported_duration_of_a_stall_is_rounded_down_to_a_power_of_two(
    seconds: float, shown: int
) -> None:
    assert Stall(DEAD, "x", seconds).trouble == f"x for {shown} s"


async def test_a_blocked_loop_is_reported_with_its_stack(
    dog: Dog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdogs, "LAG", 0.05)
    await dog.until_listened(1)
    with capture_logs() as logs:
        give_up = time.monotonic() + 20
        while not logs and time.monotonic() < give_up:
            time.sleep(0.01)  # noqa: ASYNC251 - what stops the loop
        await until(lambda: LOOP in dog.troubles)

    assert [each["event"] for each in logs] == ["loop.lags", "loop.resumed"]
    assert "what stops the loop" in logs[0]["stack"]
    assert "the event loop was blocked for" in dog.troubles[LOOP]


async def test_a_loop_without_lag_is_not_reported(
    dog: Dog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdogs, "LAG", HANG)

    await dog.until_listened(5)

    assert dog.said == []
