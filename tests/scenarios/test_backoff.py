"""Restarts after failures, and their limit: scenario 21."""

import os
import signal
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import pytest

from tests.scenarios.events import events_of
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.unit.api.streams import Stream

INITIAL = 0.2
LONGEST = 0.8
TABLE = [0.2, 0.4, 0.8, 0.8]
ROUNDED = 0.002
"""Seconds that two dates may be away from each other by being cut to milliseconds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One back-off: the seconds from the end of the process, and those from when it was told.

    However busy the machine is, the first cannot be shorter than what the daemon chose, and the
    second not longer.
    """

    since_end: float
    since_told: float

    def fits(self, seconds: float) -> bool:
        """Return whether the daemon chose that back-off, plus at most a tenth."""
        return self.since_end >= seconds - ROUNDED and self.since_told <= seconds * 1.1 + ROUNDED


async def next_wait(stream: Stream) -> Wait:
    """Return the next back-off in the events."""
    while (event := (await stream.take(1))[0]).name != "instance.backoff":
        pass
    instance = event.data["instance"]
    told, ended, again = (
        datetime.fromisoformat(each)
        for each in (event.data["at"], instance["last_exit"]["at"], instance["next_restart_at"])
    )
    return Wait((again - ended).total_seconds(), (again - told).total_seconds())


def fits_the_table(seen: list[Wait]) -> None:
    """Assert that each back-off is that of the table, plus at most a tenth."""
    assert all(wait.fits(seconds) for wait, seconds in zip(seen, TABLE, strict=True)), seen


async def test_crashes_before_readiness_double_the_back_off_up_to_its_maximum(
    daemon: Daemon,
) -> None:
    """Scenario 21. [supervisord respawns at once for ever]"""
    Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)

    async with events_of(daemon) as stream:
        await daemon.api.start(0, daemon.ports.reserve())
        seen = [await next_wait(stream) for _ in TABLE]
    failed = await daemon.api.until(0, state="failed")

    fits_the_table(seen)
    assert (
        failed["consecutive_failures"],
        failed["restarts"],
        failed["generation"],
    ) == (5, 4, 5)
    assert failed["last_exit"]["exit_code"] == 1
    assert failed["next_restart_at"] is None


async def test_processes_are_really_made_by_the_table(daemon: Daemon) -> None:
    """Scenario 21, measured by the processes: a gap is a back-off plus their own short run."""
    script = "read up rest < /proc/uptime; say up $up; exit 1"
    program = Program(daemon.workspace, script=script)
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)
    await daemon.api.start(0, daemon.ports.reserve())

    await daemon.api.until(0, state="failed")
    times = [float(words[0]) for words in program.said("up")]
    gaps = [later - earlier for earlier, later in pairwise(times)]

    assert len(times) == 5
    for gap, expected in zip(gaps, TABLE, strict=True):
        assert gap >= expected - 0.01, gaps  # /proc/uptime is cut to a hundredth


async def test_crashes_after_readiness_double_the_back_off(daemon: Daemon) -> None:
    """Scenario 21: a run that became ready is not yet stable."""
    Program(daemon.workspace)
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)
    await daemon.api.start(0, daemon.ports.reserve())
    seen = []

    async with events_of(daemon) as stream:
        for generation in range(1, 5):
            shown = await daemon.api.until(0, state="running", generation=generation)
            os.kill(shown["pid"], signal.SIGKILL)
            seen.append(await next_wait(stream))
    last = await daemon.api.until(0, state="running", generation=5)
    os.kill(last["pid"], signal.SIGKILL)
    failed = await daemon.api.until(0, state="failed")

    fits_the_table(seen)
    assert (failed["consecutive_failures"], failed["restarts"]) == (5, 4)
    assert failed["last_exit"]["signal"] == "SIGKILL"


async def test_instances_that_fail_together_are_not_tried_together(daemon: Daemon) -> None:
    """Scenario 21: the jitter is up to a tenth, and differs."""
    Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=600, backoff_max=600)
    async with events_of(daemon) as stream:
        for number in range(12):
            await daemon.api.start(number, daemon.ports.reserve())
        seen = [await next_wait(stream) for _ in range(12)]
    chosen = [wait.since_end for wait in seen]

    assert all(wait.fits(600) for wait in seen), seen
    assert max(chosen) - min(chosen) > 6


async def test_a_start_by_a_caller_resets_the_backoff(daemon: Daemon) -> None:
    """Scenario 21: from `failed` and from a back-off."""
    program = Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=3)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, state="failed")

    async with events_of(daemon) as stream:
        await daemon.api.act(0, "start")
        first, second = [await next_wait(stream) for _ in range(2)]
    program.write(SERVE)
    by_hand = await daemon.api.act(0, "start")

    assert first.fits(TABLE[0])
    assert second.fits(TABLE[1])
    assert (
        by_hand.status,
        by_hand.body["restarts"],
        by_hand.body["consecutive_failures"],
    ) == (200, 0, 0)


async def test_a_stable_run_forgives_the_failures(daemon: Daemon) -> None:
    """Scenario 21: the restart count is kept."""
    Program(daemon.workspace)
    await daemon.start(backoff_initial=0.01, stable_after=0.3, max_failures=2)
    await daemon.api.start(0, daemon.ports.reserve())

    for generation in range(1, 4):
        shown = await daemon.api.until(
            0, state="running", generation=generation, consecutive_failures=0
        )
        os.kill(shown["pid"], signal.SIGKILL)
    last = await daemon.api.until(0, state="running", generation=4)

    assert last["restarts"] == 3


@pytest.mark.parametrize(
    ("restart", "ending", "state"),
    [
        ("never", "exit 0", "stopped"),
        ("never", "exit 1", "failed"),
        ("on-failure", "exit 0", "stopped"),
        ("on-failure", "exit 1", "backoff"),
        ("on-failure", "kill -9 $$", "backoff"),
        ("always", "exit 0", "backoff"),
    ],
)
async def test_the_restart_policy_decides_whether_an_exit_is_retried(
    daemon: Daemon, restart: str, ending: str, state: str
) -> None:
    """Scenario 21."""
    Program(daemon.workspace, script=ending)
    await daemon.start(backoff_initial=600, backoff_max=600)

    await daemon.api.start(0, daemon.ports.reserve(), restart=restart)

    shown = await daemon.api.until(0, state=state, generation=1)
    assert shown["pid"] is None
    assert (shown["next_restart_at"] is not None) == (state == "backoff")


async def test_siblings_of_a_crash_loop_are_left_alone(daemon: Daemon) -> None:
    """Scenario 21: including those of the same environment. [circus stops healthy siblings]"""
    Program(daemon.workspace)
    Program(daemon.workspace, "broken", script="exit 1")
    await daemon.start(backoff_initial=0.01, backoff_max=0.01, max_failures=30)
    ports = [daemon.ports.reserve() for _ in range(3)]
    healthy = [(await daemon.api.start(n, ports[n])).body["instance"] for n in range(2)]
    await daemon.api.start(2, ports[2], environment="broken")

    await daemon.api.until(2, state="failed", generation=30)
    after = [await daemon.api.show(number) for number in range(2)]

    for name in ("pid", "generation", "state", "ready_at"):
        assert [each[name] for each in healthy] == [each[name] for each in after]
