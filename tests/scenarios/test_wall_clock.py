"""Jumps of the wall clock: scenario 24."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.waiting import until, until_async

WAIT = 4.0
"""Seconds of each timer. One that believed the time of day would be an hour early, or an hour late,
and that is longer than anything is waited for."""

JUMP = 36_000

DEAF_TO_SIGINT = "trap '' INT; say deaf; exec sleep 3600"


class Jumpy:
    """A daemon whose wall clock jumps."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._offset = daemon.root / "offset"

    async def start(self) -> None:
        self.jump(0)
        path = f"{Path(__file__).parent / 'clock'}:{os.environ.get('PYTHONPATH', '')}"
        variables = {"PYTHONPATH": path, "CLOCK_OFFSET_FILE": str(self._offset)}
        await self.daemon.start(
            variables=variables,
            stop_grace=WAIT,
            startup_timeout=WAIT,
            backoff_initial=WAIT,
            backoff_max=WAIT,
            stable_after=WAIT,
        )

    def jump(self, seconds: int) -> None:
        # Replaced and not written: it may be read at any moment.
        draft = self._offset.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.replace(self._offset)

    async def launch(
        self, number: int, script: str, wait: str = "spawn", **policy: float
    ) -> Program:
        program = Program(self.daemon.workspace, f"e{number}", script=script)
        await self.daemon.api.start(
            number,
            self.daemon.ports.reserve(),
            environment=f"e{number}",
            wait={"wait": wait},
            **policy,
        )
        return program


async def timed(happening: Awaitable[object], asked: float) -> float:
    """Seconds from `asked` until it has happened."""
    await happening
    return time.monotonic() - asked


@pytest.mark.parametrize("seconds", [JUMP, -JUMP], ids=["forwards", "backwards"])
async def test_a_jump_of_the_wall_clock_affects_no_timer(  # noqa: PLR0915 - four timers at once
    daemon: Daemon, seconds: int
) -> None:
    """Scenario 24: a back-off, a startup time-out, a grace, and the time until a run is stable."""
    clock = Jumpy(daemon)
    await clock.start()
    api = daemon.api
    crashed = await clock.launch(0, "say x; exit 1")
    deaf = await clock.launch(1, DEAF_TO_SIGINT, startup_timeout=600)
    await clock.launch(3, SERVE, "ready")
    os.kill((await api.show(3))["pid"], signal.SIGKILL)
    await until(lambda: deaf.said("deaf"))

    await api.until(3, state="running", generation=2)
    stable_from = time.monotonic()
    await api.act(0, "start", wait="spawn")
    asked = time.monotonic()
    stopping = asyncio.create_task(api.act(1, "stop"))
    await clock.launch(2, NEVER_READY)
    await api.until(0, state="backoff")
    launches = len(crashed.said("x"))
    await api.until(1, state="stopping")
    clock.jump(seconds)

    async def ended_by_startup_timeout() -> bool:
        end = (await api.show(2))["last_exit"]
        return bool(end) and end["reason"] == "startup_timeout"

    took = await asyncio.gather(
        timed(until(lambda: len(crashed.said("x")) > launches), asked),
        timed(stopping, asked),
        timed(until_async(ended_by_startup_timeout), asked),
        timed(api.until(3, consecutive_failures=0), stable_from),
    )
    shown = await api.show(3)
    log = daemon.log()[-1]

    assert all(each >= WAIT - 0.1 for each in took), took
    assert 0 < shown["uptime_seconds"] < JUMP / 2
    assert has_jumped(shown_again := await restarted(daemon), seconds), shown_again
    assert has_jumped(log["timestamp"], seconds)


async def restarted(daemon: Daemon) -> str:
    """The date that is shown of a process made after the jump."""
    answer: Any = await daemon.api.act(3, "restart")
    started_at: str = answer.body["started_at"]
    return started_at


def has_jumped(date: str, seconds: int) -> bool:
    """Return whether the daemon used the clock that jumped for that date."""
    return (
        abs((datetime.fromisoformat(date) - datetime.now(UTC)).total_seconds() - seconds) < JUMP / 2
    )
