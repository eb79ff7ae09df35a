"""A stop overrides every earlier request and decision: scenario 16."""

import asyncio
import os
import signal

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.waiting import until

BACKOFF = 0.1
LIVES = 5
WITNESS = 99
"""An instance that crashes all the time, by whose lives it is counted how often another one would
have come back."""


async def let_time_pass(daemon: Daemon) -> None:
    """Return when an instance in a back-off would have restarted several times."""
    Program(daemon.workspace, "witness", script="exit 1")
    policy = {"backoff_initial": BACKOFF, "backoff_max": BACKOFF, "max_failures": 1000}
    wait = {"wait": "spawn"}
    port = daemon.ports.reserve()
    await daemon.api.start(WITNESS, port, environment="witness", wait=wait, **policy)
    await until(lambda: len(daemon.events("instance.exited", instance=WITNESS)) >= LIVES)
    await daemon.api.ask("DELETE", f"{API}/instances/{WITNESS}")


async def stays_stopped(daemon: Daemon, ref: int = 0) -> None:
    before = await daemon.api.show(ref)
    await let_time_pass(daemon)
    after = await daemon.api.show(ref)

    assert (after["state"], after["wanted"], after["pid"]) == ("stopped", False, None)
    assert before["generation"] == after["generation"]
    assert not daemon.processes()


async def test_a_stop_during_a_start_keeps_the_instance_stopped(daemon: Daemon) -> None:
    """Scenario 16: callers that wait for the start receive an error."""
    program = Program(daemon.workspace, script="say pid $$; " + NEVER_READY)
    await daemon.start(backoff_initial=BACKOFF)
    starting = asyncio.create_task(daemon.api.start(0, daemon.ports.reserve()))
    await until(lambda: program.said("pid"))

    stopped = await daemon.api.act(0, "stop")
    started = await starting

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert (started.status, started.body["code"]) == (500, "start_failed")
    assert "stopped while starting" in started.detail
    await stays_stopped(daemon)


async def test_a_stop_right_after_a_start_keeps_the_instance_stopped(daemon: Daemon) -> None:
    """Scenario 16: at the moment of the spawn."""
    Program(daemon.workspace, script=SERVE)
    await daemon.start(backoff_initial=BACKOFF)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.act(0, "stop")

    for turn in range(20):
        starting = asyncio.create_task(daemon.api.act(0, "start"))
        await asyncio.sleep(turn / 2000)
        stopped = await daemon.api.act(0, "stop")
        answer = await starting

        assert answer.status == 200 or "stopped while starting" in answer.detail
        assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    await stays_stopped(daemon)


@pytest.mark.parametrize("script", ["exit 1", "exit 0"])
async def test_a_stop_during_a_back_off_keeps_the_instance_stopped(
    daemon: Daemon, script: str
) -> None:
    """Scenario 16."""
    Program(daemon.workspace, script=script)
    await daemon.start(backoff_initial=BACKOFF, backoff_max=BACKOFF, max_failures=1000)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, state="backoff")

    stopped = await daemon.api.act(0, "stop")

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert stopped.body["next_restart_at"] is None
    await stays_stopped(daemon)


async def test_a_stop_during_a_restart_keeps_the_instance_stopped(daemon: Daemon) -> None:
    """Scenario 16: the old process ends slowly, and no new one follows it."""
    program = Program(daemon.workspace, script="say pid $$; trap '' INT; serve & wait; sleep 60")
    await daemon.start(backoff_initial=BACKOFF)
    await daemon.api.start(0, daemon.ports.reserve(), stop_grace=0.5)
    restarting = asyncio.create_task(daemon.api.act(0, "restart"))
    await daemon.api.until(0, state="stopping", wanted=True)

    stopped = await daemon.api.act(0, "stop")
    restarted = await restarting

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert restarted.status == 500
    assert "stopped while starting" in restarted.detail
    assert len(program.said("pid")) == 1
    await stays_stopped(daemon)


async def test_a_stop_during_the_kill_of_an_unhealthy_instance_keeps_it_stopped(
    daemon: Daemon,
) -> None:
    """Scenario 16: stopped, it neither responds nor handles SIGINT. [pebble restarts it]"""
    Program(daemon.workspace)
    await daemon.start(backoff_initial=BACKOFF)
    started = await daemon.api.start(
        0,
        daemon.ports.reserve(),
        stop_grace=1,
        probe_period=0.02,
        probe_timeout=1,
        probe_failures=2,
    )
    os.kill(started.body["instance"]["pid"], signal.SIGSTOP)
    await daemon.api.until(0, state="stopping", wanted=True)

    stopped = await daemon.api.act(0, "stop")

    assert daemon.events("instance.unresponsive")
    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    await stays_stopped(daemon)


async def test_a_stop_during_a_sweep_keeps_the_instance_stopped(daemon: Daemon) -> None:
    """Scenario 16: immediately after a crash."""
    Program(daemon.workspace, script="(setsid sleep 3600 &) ; " * 3 + SERVE)
    await daemon.start(backoff_initial=BACKOFF, stable_after=0.01)
    started = await daemon.api.start(0, daemon.ports.reserve())

    for turn in range(20):
        shown = await daemon.api.until(0, state="running")
        os.kill(shown["pid"], signal.SIGKILL)
        await asyncio.sleep(turn / 4000)
        stopped = await daemon.api.act(0, "stop")
        assert (stopped.status, stopped.body["state"]) == (200, "stopped")
        assert not daemon.processes()
        assert (await daemon.api.act(0, "start")).status == 200
    await daemon.api.act(0, "stop")

    assert not kernel.alive(started.body["instance"]["pid"])
    await stays_stopped(daemon)


async def test_a_start_requested_after_a_stop_is_carried_out(daemon: Daemon) -> None:
    """Scenario 16, reversed: the last request takes effect once the stop has ended."""
    Program(daemon.workspace, script="trap '' INT; serve & wait; sleep 60")
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), stop_grace=0.3)
    first = await daemon.api.show(0)
    stopping = asyncio.create_task(daemon.api.act(0, "stop"))
    await daemon.api.until(0, state="stopping")

    started = await daemon.api.act(0, "start")

    assert (await stopping).status == 200
    assert (
        started.status,
        started.body["state"],
        started.body["generation"],
    ) == (200, "running", 2)
    assert not kernel.alive(first["pid"])


async def test_a_delete_removes_the_instance_and_ends_its_process(daemon: Daemon) -> None:
    """Scenario 16, permanently."""
    Program(daemon.workspace, script="exit 1")
    await daemon.start(backoff_initial=BACKOFF, backoff_max=BACKOFF, max_failures=1000)
    await daemon.api.start(0, daemon.ports.reserve())

    answer = await daemon.api.ask("DELETE", f"{API}/instances/0")
    await let_time_pass(daemon)

    assert answer.status == 200
    assert await daemon.api.show_all() == []
    assert not daemon.processes()
