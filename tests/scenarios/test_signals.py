"""The signals of a stop: scenarios 12, 19 and 25."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import bounded, until

GRACE = 2.0
"""Seconds; half of it lies between SIGTERM and SIGKILL, in which a busy machine must let a process
run that long enough to hear of the first."""

# Says when each signal came, by the clock of the whole machine; TERM ends it, INT does not.
TELLS_TIME = """
exec '<python>' -I -S -c '
import signal, sys, time
def told(number, frame):
    with open("<directory>/said", "a") as said:
        print(signal.Signals(number).name, time.monotonic(), file=said)
    if number == signal.SIGTERM:
        sys.exit(5)
signal.signal(signal.SIGINT, told)
signal.signal(signal.SIGTERM, told)
open("<directory>/said", "a").write("deaf\\n")
while True:
    signal.pause()
'
"""


async def test_a_process_that_exits_on_sigint_receives_no_other_signal(daemon: Daemon) -> None:
    """Scenario 12: it cleans up within its grace period, and exits with 0."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), env={"STANDIN_STOP_SECONDS": "0.3"})

    stopped = await daemon.api.act(0, "stop")
    end = stopped.body["last_exit"]

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert (end["exit_code"], end["signal"], end["expected"]) == (0, None, True)
    assert "Stopped server" in end["log_tail"]


async def test_sigterm_is_sent_after_the_grace_period(daemon: Daemon) -> None:
    """Scenario 12: reported by the process itself, which exits on SIGTERM, before SIGKILL."""
    program = Program(daemon.workspace, script=TELLS_TIME)
    await daemon.start()
    await start_deaf(daemon, program, stop_grace=GRACE)

    asked = time.monotonic()
    stopped = await daemon.api.act(0, "stop")
    [[interrupted]] = program.said("SIGINT")
    [[terminated]] = program.said("SIGTERM")

    assert asked <= float(interrupted)
    assert float(terminated) - asked >= GRACE
    assert (
        stopped.body["last_exit"]["exit_code"],
        stopped.body["last_exit"]["signal"],
    ) == (5, None)


async def test_a_process_that_ignores_sigint_and_sigterm_is_killed_in_bounded_time(
    daemon: Daemon,
) -> None:
    """Scenario 12: after one and a half times the grace period, with its descendants."""
    program = Program(
        daemon.workspace, script="trap '' INT TERM HUP; sleep 600 & say child $!; say deaf; wait"
    )
    await daemon.start()
    await start_deaf(daemon, program, stop_grace=GRACE)

    asked = time.monotonic()
    stopped = await daemon.api.act(0, "stop")
    took = time.monotonic() - asked

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert stopped.body["last_exit"]["signal"] == "SIGKILL"
    assert stopped.body["last_exit"]["expected"]
    assert took >= 1.5 * GRACE
    assert not daemon.processes()


async def test_a_second_stop_does_not_lengthen_the_first(daemon: Daemon) -> None:
    """Scenario 12: each stop within the grace period of the previous one must not prolong it."""
    program = Program(daemon.workspace, script="trap '' INT TERM; say deaf; sleep 600 & wait")
    await daemon.start()
    await start_deaf(daemon, program, stop_grace=GRACE)

    first = asyncio.create_task(daemon.api.act(0, "stop"))
    async with bounded():
        while not first.done():
            await daemon.api.act(0, "stop", timeout=0.05)

    assert (await first).body["state"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_a_signal_that_races_the_end_breaks_nothing(
    daemon: Daemon, number: signal.Signals
) -> None:
    """Scenario 19: forty times, killed by another process at the moment of the stop."""
    Program(daemon.workspace)
    port = daemon.ports.reserve()
    await daemon.start()

    for turn in range(40):
        started = await daemon.api.start(0, port)
        pid = started.body["instance"]["pid"]
        stopping = asyncio.create_task(daemon.api.act(0, "stop"))
        for _ in range(turn % 8):
            await asyncio.sleep(0)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        stopped = await stopping

        assert (stopped.status, stopped.body["state"]) == (200, "stopped")


async def test_an_instance_keeps_its_grace_period_while_others_end(daemon: Daemon) -> None:
    """Scenario 25: another instance crashes and restarts continuously."""
    program = Program(daemon.workspace, script=TELLS_TIME)
    Program(daemon.workspace, "crashes", script="exit 1")
    Program(daemon.workspace, "serves", script=SERVE)
    await daemon.start()
    await daemon.api.start(
        1,
        daemon.ports.reserve(),
        environment="crashes",
        backoff_initial=0.01,
        backoff_max=0.01,
        max_failures=10_000,
    )
    started = await daemon.api.start(2, daemon.ports.reserve(), environment="serves")
    await start_deaf(daemon, program, stop_grace=GRACE)
    before = len(daemon.events("instance.exited", instance=1))

    asked = time.monotonic()
    stopping = asyncio.create_task(daemon.api.act(0, "stop"))
    await until(lambda: program.said("SIGINT"))
    os.kill(started.body["instance"]["pid"], signal.SIGKILL)
    await stopping
    [[terminated]] = program.said("SIGTERM")

    assert float(terminated) - asked >= GRACE
    assert len(daemon.events("instance.exited", instance=1)) > before
    assert (await daemon.api.until(2, state="running"))["restarts"] == 1


async def start_deaf(daemon: Daemon, program: Program, **fields: float) -> int:
    """Start a program that is never ready, and wait until it ignores signals."""
    number = program.said("deaf")
    answer = await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"}, **fields)
    await until(lambda: len(program.said("deaf")) > len(number))
    pid: int = answer.body["instance"]["pid"]
    assert kernel.alive(pid)
    return pid
