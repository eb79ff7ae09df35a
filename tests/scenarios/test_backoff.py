"""When what fails is tried again, and when no more: scenario 21."""

import os
import signal
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until_async

INITIAL = 0.2
LONGEST = 0.8
TABLE = [0.2, 0.4, 0.8, 0.8]
LATE = 0.15
"""Seconds that a timer and the end of a process may be late on a loaded machine: less than the
least difference in the table."""


def waited(shown: dict[str, Any]) -> float:
    """The seconds of a back-off, as the API shows its beginning and its end."""
    until_then = datetime.fromisoformat(shown["next_restart_at"])
    return (until_then - datetime.fromisoformat(shown["last_exit"]["at"])).total_seconds()


async def waits(daemon: Daemon, count: int) -> list[float]:
    """So many back-offs of instance 0 in a row, seen while they go on."""
    seen: dict[int, float] = {}

    async def look() -> bool:
        shown = await daemon.api.show(0)
        if shown["state"] == "backoff":
            seen.setdefault(shown["generation"], waited(shown))
        return len(seen) >= count

    await until_async(look)
    return [seen[generation] for generation in sorted(seen)]


def fits_the_table(seen: list[float]) -> None:
    """Each wait is that of the table, up to a tenth more, and no less."""
    assert len(seen) == len(TABLE)
    for shown, expected in zip(seen, TABLE, strict=True):
        assert expected - 0.002 <= shown <= expected * 1.1 + LATE, seen


async def test_a_crash_loop_before_ready_doubles_its_waits_up_to_the_longest(
    daemon: Daemon,
) -> None:
    """Scenario 21. [supervisord respawns at once for ever]"""
    Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)
    await daemon.api.start(0, daemon.ports.reserve())

    seen = await waits(daemon, 4)
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
    """Scenario 21, as the processes themselves see it: a gap is a wait and their own short life."""
    script = "read up rest < /proc/uptime; say up $up; exit 1"
    program = Program(daemon.workspace, script=script)
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)
    await daemon.api.start(0, daemon.ports.reserve())

    await daemon.api.until(0, state="failed")
    times = [float(words[0]) for words in program.said("up")]
    gaps = [later - earlier for earlier, later in pairwise(times)]

    assert len(times) == 5
    for gap, expected in zip(gaps, TABLE, strict=True):
        # /proc/uptime is cut to a hundredth; after it comes the start of a process.
        assert expected - 0.01 <= gap <= expected * 1.1 + 2 * LATE, gaps


async def test_a_crash_loop_after_ready_doubles_its_waits_too(daemon: Daemon) -> None:
    """Scenario 21: to have been ready is not to have been stable."""
    Program(daemon.workspace)
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=5)
    await daemon.api.start(0, daemon.ports.reserve())
    seen = []

    for generation in range(1, 5):
        shown = await daemon.api.until(0, state="running", generation=generation)
        os.kill(shown["pid"], signal.SIGKILL)
        seen.append(waited(await daemon.api.until(0, state="backoff", generation=generation)))
    last = await daemon.api.until(0, state="running", generation=5)
    os.kill(last["pid"], signal.SIGKILL)
    failed = await daemon.api.until(0, state="failed")

    fits_the_table(seen)
    assert (failed["consecutive_failures"], failed["restarts"]) == (5, 4)
    assert failed["last_exit"]["signal"] == "SIGKILL"


async def test_instances_that_fail_together_are_not_tried_together(daemon: Daemon) -> None:
    """Scenario 21: the jitter is up to a tenth, and not the same for all."""
    Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=600, backoff_max=600)
    for number in range(12):
        await daemon.api.start(number, daemon.ports.reserve())

    seen = [waited(await daemon.api.until(number, state="backoff")) for number in range(12)]

    assert all(600 <= each <= 660 + LATE for each in seen), seen
    assert max(seen) - min(seen) > 6


async def test_a_start_by_hand_begins_anew(daemon: Daemon) -> None:
    """Scenario 21: of what has failed for good, and of what waits."""
    program = Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=INITIAL, backoff_max=LONGEST, max_failures=3)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, state="failed")

    await daemon.api.act(0, "start")
    again = await daemon.api.until(0, state="backoff")
    third = await daemon.api.until(0, state="backoff", consecutive_failures=2)
    program.write(SERVE)
    by_hand = await daemon.api.act(0, "start")

    assert (again["consecutive_failures"], again["restarts"]) == (1, 0)
    assert INITIAL - 0.002 <= waited(again) <= INITIAL * 1.1 + LATE
    assert waited(third) > waited(again)
    assert (
        by_hand.status,
        by_hand.body["restarts"],
        by_hand.body["consecutive_failures"],
    ) == (200, 0, 0)


async def test_a_stable_run_forgives_the_failures(daemon: Daemon) -> None:
    """Scenario 21: and the restarts stay counted."""
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
async def test_the_policy_says_what_is_tried_again(
    daemon: Daemon, restart: str, ending: str, state: str
) -> None:
    """Scenario 21."""
    Program(daemon.workspace, script=ending)
    await daemon.start(backoff_initial=600, backoff_max=600)

    await daemon.api.start(0, daemon.ports.reserve(), restart=restart)

    await daemon.api.until(0, state=state, generation=1)


async def test_siblings_of_a_crash_loop_are_left_alone(daemon: Daemon) -> None:
    """Scenario 21: also those of the same environment. [circus stops healthy siblings]"""
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
