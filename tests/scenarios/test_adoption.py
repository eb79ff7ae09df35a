"""Adoption of instances after the daemon was killed: scenarios 26 and 28."""

import asyncio
import os
import signal
import subprocess
from typing import Any

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.waiting import HANG, until

DEAF = "trap '' INT TERM; say deaf; while :; do sleep 3600; done"
GATED = "while [ ! -e '<directory>/go' ]; do sleep 0.02; done; " + SERVE
LONG = 600.0
PATIENT: dict[str, Any] = {"backoff_initial": LONG, "backoff_max": LONG, "stop_grace": LONG}

SAME = (
    "pid",
    "generation",
    "state",
    "ready",
    "wanted",
    "port",
    "started_at",
    "ready_at",
    "startup_seconds",
    "restarts",
    "consecutive_failures",
    "next_restart_at",
    "last_exit",
)
"""What of an instance a daemon's death does not change."""


def shown(instance: dict[str, Any]) -> dict[str, Any]:
    return {name: instance[name] for name in SAME}


async def launch(daemon: Daemon, number: int, script: str, **fields: object) -> Program:
    """Start an instance of its own environment, without waiting for it."""
    name = f"e{number}"
    program = Program(daemon.workspace, name, script=script)
    port = daemon.ports.reserve()
    wait = {"wait": "spawn"}
    await daemon.api.start(number, port, wait=wait, environment=name, **fields)
    return program


async def test_every_state_outlives_the_daemon(daemon: Daemon) -> None:
    """Scenario 26: same pids, generations, uptimes, requests, deadlines."""
    await daemon.start(**PATIENT)
    await launch(daemon, 0, SERVE)
    await launch(daemon, 1, NEVER_READY)
    await launch(daemon, 2, "exit 3")
    deaf = await launch(daemon, 3, DEAF)
    await launch(daemon, 4, "exit 4", max_failures=1)
    await launch(daemon, 5, SERVE)
    await until(lambda: deaf.said("deaf"))
    await daemon.api.act(3, "stop", timeout=0)
    await daemon.api.act(5, "stop")
    states = ("running", "starting", "backoff", "stopping", "failed", "stopped")
    for number, state in enumerate(states):
        await daemon.api.until(number, state=state)
    before = await daemon.api.show_all()
    alive = daemon.processes()

    await daemon.kill()
    await daemon.start(**PATIENT)
    after = await daemon.api.show_all()

    assert [shown(each) for each in before] == [shown(each) for each in after]
    assert set(alive) == set(daemon.processes())  # a shell may not have become its command yet
    pid = after[0]["pid"]
    assert after[0]["uptime_seconds"] >= before[0]["uptime_seconds"]
    lived = kernel.since_boot() - kernel.started_at(pid)
    assert lived - HANG <= after[0]["uptime_seconds"] <= lived
    assert len(daemon.events("instance.adopted")) == 3


async def test_operations_in_progress_are_finished_by_the_next_daemon(daemon: Daemon) -> None:
    """Scenario 26: a start, a back-off, a stop, a restart."""
    await daemon.start(stop_grace=1)
    starting = await launch(daemon, 0, GATED)
    await launch(daemon, 1, "exit 3", backoff_initial=1.5, backoff_max=1.5, max_failures=100)
    deaf = await launch(daemon, 2, DEAF)
    renewed = await launch(daemon, 3, DEAF)
    await until(lambda: deaf.said("deaf") and renewed.said("deaf"))
    await daemon.api.until(1, state="backoff")
    await daemon.api.act(2, "stop", timeout=0)
    await daemon.api.act(3, "restart", timeout=0)
    before = {number: await daemon.api.show(number) for number in range(4)}

    await daemon.kill()
    (starting.directory / "go").touch()
    renewed.write(SERVE)
    await daemon.start(stop_grace=1)

    ready = await daemon.api.until(0, state="running")
    assert (before[0]["pid"], 1) == (ready["pid"], ready["generation"])
    stopped = await daemon.api.until(2, state="stopped")
    assert (stopped["wanted"], stopped["pid"]) == (False, None)
    assert stopped["last_exit"]["expected"]
    assert not kernel.alive(before[2]["pid"])
    again = await daemon.api.until(3, state="running")
    assert (again["generation"], again["restarts"], again["consecutive_failures"]) == (2, 0, 0)
    assert not kernel.alive(before[3]["pid"])
    await until(lambda: daemon.instance_log(1).count("generation") > before[1]["generation"])


async def test_an_adopted_instance_is_supervised_as_before(daemon: Daemon) -> None:
    """Scenario 26: it is restarted after a crash, its exit is reported, and it can be stopped."""
    await daemon.start(stable_after=0.01)
    await launch(daemon, 0, "(setsid sleep 3600 &); " + SERVE)
    first = await daemon.api.until(0, state="running")
    await daemon.kill()
    await daemon.start(stable_after=0.01)

    os.kill(first["pid"], signal.SIGKILL)
    second = await daemon.api.until(0, state="running", generation=2)
    stopped = await daemon.api.act(0, "stop")

    assert second["last_exit"]["signal"] in ("SIGKILL", None)
    assert not second["last_exit"]["expected"]
    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert not daemon.processes()


async def test_an_instance_outlives_one_daemon_after_another(daemon: Daemon) -> None:
    """Scenario 26, repeatedly, at any moment of the startup."""
    await daemon.start()
    await launch(daemon, 0, SERVE)
    first = await daemon.api.until(0, state="running")

    for turn in range(6):
        await daemon.kill()
        await daemon.start()
        await asyncio.sleep(turn / 100)

    assert shown(first) == shown(await daemon.api.show(0))
    assert list(daemon.processes()) == [first["pid"]]


async def test_an_instance_that_died_while_the_daemon_was_down_is_restarted_immediately(
    daemon: Daemon,
) -> None:
    """Scenario 28."""
    await daemon.start(stable_after=0.01)
    await launch(daemon, 0, "(setsid sleep 3600 &); " + SERVE)
    await launch(daemon, 1, NEVER_READY)
    first = await daemon.api.until(0, state="running")
    loading = await daemon.api.show(1)
    left = set(daemon.processes()) - {first["pid"], loading["pid"]}
    await daemon.kill()

    os.kill(first["pid"], signal.SIGKILL)
    os.kill(loading["pid"], signal.SIGKILL)
    await until(lambda: not kernel.alive(first["pid"]) and not kernel.alive(loading["pid"]))
    await daemon.start(stable_after=0.01)
    second = await daemon.api.until(0, state="running", generation=2)
    other = await daemon.api.until(1, generation=2)

    assert left
    assert not left & set(daemon.processes())
    for each in (second, other):
        end = each["last_exit"]
        assert (end["exit_code"], end["expected"]) == (None, False)
        assert end["signal"] in ("SIGKILL", None)
        assert end["message"]
    assert other["consecutive_failures"] == 1
    # Only where nobody had its output open any more.
    assert "may be missing" not in daemon.instance_log(0)


async def test_the_log_marks_where_output_may_be_missing(daemon: Daemon) -> None:
    """Scenario 28: the unread output was lost with the last process that held the FIFO."""
    await daemon.start()
    alone = await launch(daemon, 0, "say here; exec sleep 3600")
    await until(lambda: alone.said("here"))
    pid = (await daemon.api.show(0))["pid"]
    await daemon.kill()

    os.kill(pid, signal.SIGKILL)
    await until(lambda: not kernel.alive(pid))
    await daemon.start()
    end = (await daemon.api.until(0, generation=2))["last_exit"]

    assert "output may be missing]\n" in daemon.instance_log(0)
    assert "output may be missing]" in end["log_tail"][-1]


async def test_a_stopping_instance_that_ended_while_the_daemon_was_down_is_stopped(
    daemon: Daemon,
) -> None:
    """Scenario 28, with a requested exit."""
    await daemon.start(stop_grace=LONG)
    deaf = await launch(daemon, 0, DEAF)
    await until(lambda: deaf.said("deaf"))
    await daemon.api.act(0, "stop", timeout=0)
    pid = (await daemon.api.until(0, state="stopping"))["pid"]
    await daemon.kill()

    os.killpg(pid, signal.SIGKILL)
    await until(lambda: not kernel.alive(pid))
    await daemon.start(stop_grace=LONG)
    stopped = await daemon.api.until(0, state="stopped")

    assert (stopped["wanted"], stopped["generation"]) == (False, 1)
    assert stopped["last_exit"]["expected"]


async def test_a_deleted_instance_is_unknown_to_the_next_daemon(daemon: Daemon) -> None:
    await daemon.start()
    await launch(daemon, 0, SERVE)
    await daemon.api.until(0, state="running")
    await daemon.api.ask("DELETE", f"{API}/instances/0")

    await daemon.kill()
    await daemon.start()

    assert await daemon.api.show_all() == []


async def test_orphans_of_an_ended_generation_are_swept_at_startup(
    daemon: Daemon,
) -> None:
    """Processes with the marker of an unknown instance are not swept."""
    await daemon.start()
    await launch(daemon, 0, SERVE)
    first = await daemon.api.until(0, state="running")
    await daemon.kill()
    word = (daemon.run_dir / "identity").read_text()

    def sleeper(marker: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "COMFYSUP_MARKER": marker}
        return subprocess.Popen(["sleep", "3600"], env=env, start_new_session=True)

    gone, unknown, foreign = (
        sleeper(f"{word}:0:0"),
        sleeper(f"{word}:7:2"),
        sleeper(f"{word[::-1]}:0:1"),
    )
    try:
        await daemon.start()

        assert await asyncio.to_thread(gone.wait, 10) == -signal.SIGKILL
        assert unknown.poll() is foreign.poll() is None
        (said,) = daemon.events("instance.unrecognised")
        assert said["pids"] == [unknown.pid]
        assert shown(first) == shown(await daemon.api.show(0))
    finally:
        for each in (gone, unknown, foreign):
            each.kill()
            each.wait()
