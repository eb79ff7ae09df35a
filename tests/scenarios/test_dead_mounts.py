"""A directory that does not answer holds up who needs it, and nobody else; never the event loop.

That no such call is made in the loop is a rule, which a busy machine does not bend: a lag in
milliseconds would be measured against the machine.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until, until_async

SHARE = 2
"""Threads that one environment may take."""

DRIVER = Path("/dev/nvidiactl")
"""What the stand-in of NVML beside `sitecustomize` asks."""

LOCKED = ("environ", "cmdline")
"""The files of /proc/PID for which the kernel locks the memory of the process."""


class Mounts:
    """Directories of a daemon that can become unresponsive."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._list = daemon.root / "stalled"
        self._report = daemon.root / "stalled-loop"
        self.answer_again()

    async def start(self, **policy: float) -> None:
        path = f"{Path(__file__).parent / 'stalling'}:{os.environ.get('PYTHONPATH', '')}"
        variables = {
            "PYTHONPATH": path,
            "STALLED": str(self._list),
            "STALLED_LOOP": str(self._report),
        }
        await self.daemon.start(variables=variables, **policy)

    def stall(self, *directories: Path) -> None:
        draft = self._list.with_suffix(".new")
        draft.write_text("".join(f"{each}\n" for each in directories))
        draft.replace(self._list)

    def answer_again(self) -> None:
        self.stall()

    def asked_in_the_loop(self) -> str:
        """Return the calls that would have blocked the loop."""
        return self._report.read_text() if self._report.exists() else ""


@pytest.fixture
async def mounts(daemon: Daemon) -> AsyncIterator[Mounts]:
    """The directories respond before the daemon ends; no call to them was made in its loop."""
    one = Mounts(daemon)
    yield one
    one.answer_again()
    assert one.asked_in_the_loop() == ""


@pytest.fixture
def foreign_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not belong to the daemon."""
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process
        process.kill()


async def launch(daemon: Daemon, number: int) -> dict[str, Any]:
    """Start an instance of its own environment."""
    answer = await daemon.api.start(number, daemon.ports.reserve(), environment=f"e{number}")
    body: dict[str, Any] = answer.body
    return body


async def all_live_on(daemon: Daemon, healthy: int) -> None:
    """Assert that requests that do not concern the unresponsive directory are answered."""
    for path in ("/livez", f"{API}/status"):
        assert (await daemon.api.ask("GET", path)).status == 200
    before = (await daemon.api.show(healthy))["pid"]
    assert (await daemon.api.act(healthy, "restart")).status == 200
    after = (await daemon.api.show(healthy))["pid"]
    assert before != after
    os.kill(after, signal.SIGKILL)
    await until_async(lambda: has_another(daemon, healthy, after))
    assert (await daemon.api.act(healthy, "stop")).status == 200
    assert (await daemon.api.act(healthy, "start")).status == 200


async def starts(daemon: Daemon, number: int) -> bool:
    """Start an instance as soon as the threads have their results."""
    return (await daemon.api.act(number, "start")).status == 200


async def is_shown_as_dead(daemon: Daemon, dead: Path) -> None:
    found = await daemon.api.ask("GET", f"{API}/environments")
    usable = {each["name"]: each["usable"] for each in found.body["environments"]}
    problems = {each["name"]: each["problems"] for each in found.body["environments"]}

    assert usable == {"e0": False, "e1": True}
    assert f"{dead} has not answered for" in problems["e0"][0]


async def has_another(daemon: Daemon, number: int, pid: int) -> bool:
    shown = await daemon.api.show(number)
    return bool(shown["state"] == "running" and shown["pid"] != pid)


async def is_a_trouble(daemon: Daemon, words: str) -> bool:
    return words in " ".join(await daemon.api.troubles())


def threads(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/task"))  # noqa: PTH208


async def test_an_unresponsive_environment_delays_only_its_own_instances(
    daemon: Daemon, mounts: Mounts
) -> None:
    """A crash, its restart and a start by a caller, while another instance runs normally."""
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    await mounts.start(backoff_initial=0.05, backoff_max=0.1, max_failures=2)
    for number in range(2):
        assert (await launch(daemon, number))["status"] == "success"
    dead = daemon.workspace / "ComfyUI-e0"
    mounts.stall(dead)
    os.kill((await daemon.api.show(0))["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="starting", pid=None)
    before = threads(daemon)

    await all_live_on(daemon, 1)
    await is_shown_as_dead(daemon, dead)
    shown = await daemon.api.until(0, state="backoff")
    assert shown["last_exit"]["reason"] == "environment_unresponsive"
    assert str(dead) in shown["last_exit"]["message"]
    assert threads(daemon) <= before + SHARE
    assert (await daemon.api.act(0, "stop")).status == 200
    refused = await daemon.api.act(0, "start")
    assert (refused.status, refused.body["code"]) == (503, "environment_unresponsive")
    mounts.answer_again()
    await until_async(lambda: starts(daemon, 0))
    assert len([pid for pid, line in daemon.processes().items() if "e0" in line]) == 1


async def test_a_stop_ends_a_hanging_launch_immediately(daemon: Daemon, mounts: Mounts) -> None:
    Program(daemon.workspace, "e0")
    await mounts.start()
    await launch(daemon, 0)
    mounts.stall(daemon.workspace / "ComfyUI-e0")
    restart = asyncio.create_task(daemon.api.act(0, "restart"))
    await asyncio.sleep(0)
    os.kill((await daemon.api.show(0))["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="starting", pid=None)

    assert (await daemon.api.act(0, "stop")).status == 200
    assert (await restart).status in (409, 500)
    mounts.answer_again()
    assert (await daemon.api.show(0))["state"] == "stopped"
    assert daemon.processes() == {}


async def test_autolaunch_skips_an_unresponsive_environment(daemon: Daemon, mounts: Mounts) -> None:
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    instances = [
        {"id": number, "environment": f"e{number}", "port": daemon.ports.reserve()}
        for number in range(2)
    ]
    (daemon.root / "instances.json").write_text(json.dumps({"instances": instances}))
    os.environ["DISABLE_AUTOLAUNCH"] = "false"
    mounts.stall(daemon.workspace / "ComfyUI-e0")
    try:
        await mounts.start()
    finally:
        del os.environ["DISABLE_AUTOLAUNCH"]

    await daemon.api.until(1, state="running")
    trouble = await until_async(daemon.api.troubles)
    assert "ComfyUI-e0 has not answered for" in " ".join(trouble)


async def test_an_unresponsive_log_directory_is_reported_until_it_responds(
    daemon: Daemon, mounts: Mounts
) -> None:
    Program(daemon.workspace, "e0")
    await mounts.start()
    mounts.stall(daemon.log_dir)
    assert (await launch(daemon, 0))["status"] == "success"

    [trouble] = await until_async(daemon.api.troubles)
    assert "the log of instance 0 has not been written for" in trouble
    logs = await daemon.api.ask("GET", f"{API}/environments")
    assert logs.status == 200
    mounts.answer_again()
    await daemon.api.until_well()
    assert "starts, generation 1" in await until(lambda: daemon.instance_log(0))


async def test_the_daemon_stops_and_restarts_despite_an_unresponsive_directory(
    daemon: Daemon, mounts: Mounts
) -> None:
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    await mounts.start()
    for number in range(2):
        await launch(daemon, number)
    pid = (await daemon.api.show(1))["pid"]
    mounts.stall(daemon.workspace / "ComfyUI-e0")
    os.kill((await daemon.api.show(0))["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="starting", pid=None)
    began = len(daemon.events("daemon.started"))
    daemon.signal(signal.SIGHUP)
    await until(lambda: len(daemon.events("daemon.started")) > began)

    assert (await daemon.api.until(1, state="running"))["pid"] == pid
    daemon.signal(signal.SIGTERM)
    assert await daemon.ended() == 0
    assert not kernel.alive(pid)


async def test_a_process_with_locked_memory_does_not_block_the_startup(
    daemon: Daemon, mounts: Mounts, foreign_process: subprocess.Popen[bytes]
) -> None:
    """An instance's and a foreign process': the kernel waits for the lock in these files."""
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    await mounts.start()
    for number in range(2):
        await launch(daemon, number)
    before = [each["pid"] for each in await daemon.api.show_all()]
    await daemon.kill()
    locked = [before[0], foreign_process.pid]
    mounts.stall(*(Path(f"/proc/{pid}/{name}") for pid in locked for name in LOCKED))
    await mounts.start()

    assert before == [each["pid"] for each in await daemon.api.show_all()]
    assert all(daemon.events("process.passed_over", pid=pid) for pid in locked)
    for pid in locked:
        await until_async(partial(is_a_trouble, daemon, f"/proc/{pid} has not answered for"))
    for number in range(2):
        assert (await daemon.api.act(number, "stop")).status == 200
        assert not kernel.alive(before[number])
    assert foreign_process.poll() is None
    mounts.answer_again()
    await daemon.api.until_well()


async def test_a_hung_gpu_driver_affects_only_instances_that_request_a_gpu(
    daemon: Daemon, mounts: Mounts
) -> None:
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    mounts.stall(DRIVER)
    await mounts.start()
    assert (await launch(daemon, 0))["status"] == "success"

    await until_async(partial(is_a_trouble, daemon, "the GPU driver has not answered for"))
    port = daemon.ports.reserve()
    await daemon.api.start(1, port, wait={"wait": "spawn"}, environment="e1", gpu="auto")
    shown = await daemon.api.until(1, state="backoff")
    assert shown["last_exit"]["reason"] == "gpu_unresponsive"
    assert (await daemon.api.act(0, "restart")).status == 200
    mounts.answer_again()
    await daemon.api.until_well()


async def test_descriptors_of_a_process_that_hang_are_read_in_threads_alone(
    daemon: Daemon, mounts: Mounts
) -> None:
    """They identify the owner of a port and the descendants of an adopted process."""
    for number in range(2):
        Program(daemon.workspace, f"e{number}")
    await mounts.start()
    await launch(daemon, 0)
    pid = (await daemon.api.show(0))["pid"]
    mounts.stall(*(Path(f"/proc/{pid}/{name}") for name in ("fd", "fdinfo", *LOCKED)))

    assert (await launch(daemon, 1))["status"] == "success"
    await daemon.kill()
    await mounts.start()
    shown = await daemon.api.until(0, state="running")
    assert shown["pid"] == pid
