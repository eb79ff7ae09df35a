"""Processes that survive SIGKILL: scenario 15."""

import asyncio
import signal
import time

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.unkillable import unkillable
from tests.scenarios.waiting import until

PATIENCE = 5.0
"""Seconds that the daemon gives the kernel (supervision.life.KILL_PATIENCE)."""


async def start(daemon: Daemon, port: int) -> int:
    answer = await daemon.api.start(0, port, stop_grace=0.2)
    pid: int = answer.body["instance"]["pid"]
    return pid


async def test_an_unkillable_instance_is_stuck_and_keeps_its_port(daemon: Daemon) -> None:
    """Scenario 15: the daemon reports it in bounded time, and detects the later exit."""
    Program(daemon.workspace)
    port = daemon.ports.reserve()
    await daemon.start()
    pid = await start(daemon, port)

    async with unkillable(pid):
        asked = time.monotonic()
        stopped = await daemon.api.act(0, "stop")
        took = time.monotonic() - asked
        stuck = await daemon.api.show(0)
        taken = await daemon.api.start(1, port)
        neighbour = await daemon.api.start(2, daemon.ports.reserve())
        again = await daemon.api.act(0, "stop")
        alive = kernel.alive(pid)
    gone = await daemon.api.until(0, state="stopped")

    assert alive
    assert took >= 0.3 + PATIENCE
    for answer in (stopped, again):
        assert (answer.status, answer.body["code"]) == (500, "stop_failed")
        assert "SIGKILL did not end it" in answer.detail
    assert ("stuck", pid, False) == (stuck["state"], stuck["pid"], stuck["wanted"])
    assert (taken.status, taken.body["code"]) == (409, "port_taken")
    assert neighbour.status == 200
    assert (
        gone["pid"],
        gone["last_exit"]["signal"],
        gone["last_exit"]["expected"],
    ) == (None, "SIGKILL", True)
    assert (await daemon.api.act(0, "start")).status == 200


async def test_a_stuck_instance_is_started_once_its_process_has_ended(daemon: Daemon) -> None:
    """Scenario 15: requests in the meantime are refused with the reason."""
    Program(daemon.workspace)
    await daemon.start()
    pid = await start(daemon, daemon.ports.reserve())

    async with unkillable(pid):
        await daemon.api.act(0, "stop")
        refused = await daemon.api.act(0, "start")
        still = await daemon.api.show(0)
    shown = await daemon.api.until(0, state="running")

    assert (refused.status, refused.body["code"]) == (500, "start_failed")
    assert "SIGKILL did not end it" in refused.detail
    assert ("stuck", pid, 1) == (still["state"], still["pid"], still["generation"])
    assert shown["generation"] == 2


async def test_a_stuck_instance_delays_neither_stop_all_nor_the_shutdown(daemon: Daemon) -> None:
    """Scenarios 15 and 18: the daemon ends in time, with an exit code for the stuck process."""
    Program(daemon.workspace)
    await daemon.start(shutdown_grace=2)
    pid = await start(daemon, daemon.ports.reserve())
    other = await daemon.api.start(1, daemon.ports.reserve())

    async with unkillable(pid):
        stopping = asyncio.create_task(daemon.api.ask("POST", f"{API}/stop-all"))
        await daemon.api.until(1, state="stopped")
        answer = await stopping
        daemon.signal(signal.SIGTERM)
        daemon.exit_code = 1
        code = await daemon.ended()
    await until(lambda: not kernel.alive(pid))  # let go of, it dies of what it was sent

    assert (answer.status, answer.body["code"]) == (500, "stop_failed")
    assert "instance 0" in answer.detail.lower()
    assert code == 1
    assert not kernel.alive(other.body["instance"]["pid"])
