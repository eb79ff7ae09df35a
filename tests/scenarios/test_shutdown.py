"""Shutdown of the daemon by a signal: scenario 18."""

import asyncio
import functools
import os
import signal
import time

import pytest

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.waiting import NEVER, until

GRACE = 8.0
"""Seconds; a quarter of it lies between SIGTERM and SIGKILL."""

DEAF = "trap '' INT TERM; say deaf; sleep 3600 & wait; sleep 3600"
SCRIPTS = {
    "running": SERVE,
    "starting": NEVER_READY,
    "backoff": "exit 1",
    "failed": "exit 1",
    "stopped": SERVE,
    "stopping": DEAF,
    "deaf": DEAF,
    "restarting": DEAF,
    "relatives": "(setsid sleep 3600 &); (env -i setsid sleep 3600 &);" + SERVE,
}


async def start_in_every_state(daemon: Daemon) -> None:
    """One instance for each of `SCRIPTS`, each in the state of its name."""
    for number, (name, script) in enumerate(SCRIPTS.items()):
        program = Program(daemon.workspace, name, script=script)
        deaf = functools.partial(program.said, "deaf")
        await daemon.api.start(
            number,
            daemon.ports.reserve(),
            name=name,
            environment=name,
            wait={"wait": "spawn"},
            max_failures=1 if name == "failed" else 5,
            backoff_initial=600,
            backoff_max=600,
        )
        if script == DEAF:
            await until(deaf)
    for name in ("running", "relatives"):
        await daemon.api.until(name, state="running")
    await daemon.api.act("stopped", "stop")
    await daemon.api.act("stopping", "stop", timeout=0)
    await daemon.api.act("restarting", "restart", timeout=0)
    for name in ("starting", "backoff", "failed", "stopped", "stopping"):
        await daemon.api.until(name, state=name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_instances_in_every_state_end_within_the_shutdown_grace(
    daemon: Daemon, number: signal.Signals
) -> None:
    """Scenario 18: all instances end and the daemon exits with 0, regardless of their grace."""
    await daemon.start(stop_grace=NEVER, shutdown_grace=3)
    await start_in_every_state(daemon)
    pids = list(daemon.processes())

    daemon.signal(number)
    code = await daemon.ended()

    assert code == 0
    assert len(pids) >= 8
    assert not [pid for pid in pids if kernel.alive(pid)]
    assert not (daemon.run_dir / "api.sock").exists()


async def test_sigint_is_the_first_signal_when_a_container_stops(daemon: Daemon) -> None:
    """Scenario 18: SIGTERM only at 60 % of the grace, so that ComfyUI can clean up."""
    program = Program(
        daemon.workspace,
        script="trap 'say INT' INT; trap 'say TERM; exit 0' TERM; say deaf\n"
        "while :; do sleep 0.05; done",
    )
    await daemon.start(shutdown_grace=GRACE)
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
    await until(lambda: program.said("deaf"))

    told = time.monotonic()
    daemon.signal(signal.SIGTERM)
    await until(lambda: program.said("INT"))
    before = program.said("TERM")
    await until(lambda: program.said("TERM"))
    terminated = time.monotonic() - told

    assert before == []
    assert terminated >= 0.6 * GRACE
    assert await daemon.ended() == 0


async def test_a_second_signal_shortens_the_shutdown(daemon: Daemon) -> None:
    """Scenario 18: long before the grace period ends."""
    await daemon.start(stop_grace=NEVER, shutdown_grace=NEVER)
    await start_in_every_state(daemon)

    daemon.signal(signal.SIGTERM)
    await until(lambda: daemon.events("daemon.stopping"))
    await daemon.api.until("deaf", state="stopping")
    daemon.signal(signal.SIGTERM)
    code = await daemon.ended()

    assert code == 0
    assert not daemon.processes()


async def test_waiting_callers_are_answered_when_the_daemon_shuts_down(daemon: Daemon) -> None:
    """Scenario 18: no instance is started any more."""
    Program(daemon.workspace, script=DEAF)
    await daemon.start(shutdown_grace=2)
    waiting = asyncio.create_task(daemon.api.start(0, daemon.ports.reserve()))
    await until(lambda: daemon.events("instance.starting"))
    daemon.signal(signal.SIGTERM)
    await until(lambda: daemon.events("daemon.stopping"))
    late = await daemon.api.start(1, daemon.ports.reserve())
    answer = await waiting

    assert (answer.status, answer.body["code"]) == (500, "start_failed")
    assert "stopped while starting" in answer.detail
    assert (late.status, late.body["code"]) == (503, "shutting_down")
    assert await daemon.ended() == 0


async def test_a_signal_during_autolaunch_ends_the_daemon(daemon: Daemon) -> None:
    """Scenario 18: with the instances of autolaunch."""
    Program(daemon.workspace)
    instances = ", ".join(
        f'{{"id": {number}, "port": {daemon.ports.reserve()}}}' for number in range(5)
    )
    (daemon.root / "instances.json").write_text(f'{{"instances": [{instances}]}}')
    await daemon.start(variables={"DISABLE_AUTOLAUNCH": "false"})

    os.kill(daemon.pid, signal.SIGTERM)

    assert await daemon.ended() == 0
    assert not daemon.processes()


@pytest.mark.parametrize("output", ["2> /dev/full", "2>&-", "2>&1 | true"])
async def test_a_daemon_that_cannot_write_its_own_log_keeps_running(
    daemon: Daemon, output: str
) -> None:
    """Scenario 18, without anybody who listens: a full disk, nothing at all, a pipe without a
    reader."""
    Program(daemon.workspace)
    await daemon.start("sh", "-c", f'"$0" "$@" {output} & echo $! > {daemon.root}/pid; wait')

    started = await daemon.api.start(0, daemon.ports.reserve())
    os.kill(started.body["instance"]["pid"], signal.SIGKILL)
    shown = await daemon.api.until(0, state="running", generation=2)
    stopped = await daemon.api.act(0, "stop")

    assert (started.status, stopped.status, shown["restarts"]) == (200, 200, 1)
    about = await daemon.api.ask("GET", "/api/comfyui/daemon")
    os.kill(about.body["pid"], signal.SIGTERM)
    await daemon.ended()
