"""Processes that cannot be signalled, and files that cannot be removed, are reported."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until

USER = 65533
BECOME = f"setpriv --reuid={USER} --regid={USER} --clear-groups"
OF_ANOTHER_USER = f"setsid -f {BECOME} '<directory>/sleeper' 3600; "


def add_sleeper(program: Program) -> None:
    """Create a program whose processes can be identified."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    sleeper = program.directory / "sleeper"
    shutil.copy(sleep, sleeper)


def sleepers(program: Program) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - as names
        try:
            executable = os.readlink(f"/proc/{name}/exe")  # noqa: PTH115 - likewise
        except OSError:
            continue
        if executable == str(program.directory / "sleeper") and kernel.alive(int(name)):
            found.append(int(name))
    return found


async def start_without_rights(daemon: Daemon) -> None:
    """Start the daemon without the right to signal other users' processes (CAP_KILL)."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    without = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
    await daemon.start(*without, stop_grace=0.2, shutdown_grace=2)


async def end_sleeper(program: Program, pid: int) -> None:
    """Kill a process, and wait until it has ended, before the teardown of the daemon."""
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid not in sleepers(program))


async def begin(daemon: Daemon) -> Program:
    program = Program(daemon.workspace, script=OF_ANOTHER_USER + SERVE)
    add_sleeper(program)
    await start_without_rights(daemon)
    started = await daemon.api.start(0, daemon.ports.reserve())
    assert started.status == 200, started
    return program


async def test_a_child_of_another_user_makes_the_instance_stuck_and_is_named(
    daemon: Daemon,
) -> None:
    program = await begin(daemon)
    (sleeper,) = await until(lambda: sleepers(program))

    stopped = await daemon.api.act(0, "stop")
    shown = await daemon.api.show(0)
    again = await daemon.api.act(0, "start")

    assert (stopped.status, stopped.body["code"]) == (500, "stop_failed")
    named = f"pid {sleeper} (sleeper, user {USER}; comfysup may not signal it)"
    assert named in stopped.detail
    assert shown["state"] == "stuck"
    (said,) = daemon.events("instance.stuck")
    assert named in said["message"]
    assert [each["code"] for each in shown["conditions"]] == ["stuck"]
    assert named in shown["conditions"][0]["message"]
    assert (again.status, again.body["code"]) == (500, "start_failed")
    assert named in again.detail
    assert sleepers(program) == [sleeper]
    os.kill(sleeper, signal.SIGKILL)
    assert (await daemon.api.until(0, state="running"))["generation"] == 2
    for pid in await until(lambda: sleepers(program)):
        await end_sleeper(program, pid)


async def test_a_crash_with_a_child_of_another_user_is_not_followed_by_a_second_process(
    daemon: Daemon,
) -> None:
    program = await begin(daemon)
    (sleeper,) = await until(lambda: sleepers(program))

    os.kill((await daemon.api.show(0))["pid"], signal.SIGKILL)
    stuck = await daemon.api.until(0, state="stuck")
    daemon.signal(signal.SIGTERM)
    daemon.exit_code = 1
    code = await daemon.ended()

    assert stuck["generation"] == 1
    assert code == 1
    assert sleepers(program) == [sleeper]
    await end_sleeper(program, sleeper)


async def test_the_next_daemon_adopts_a_stuck_instance(daemon: Daemon) -> None:
    program = await begin(daemon)
    (sleeper,) = await until(lambda: sleepers(program))
    await daemon.api.act(0, "stop")
    before = await daemon.api.show(0)
    await daemon.kill()
    await start_without_rights(daemon)

    stuck = await daemon.api.show(0)

    assert (stuck["state"], stuck["last_exit"]) == ("stuck", before["last_exit"])
    os.kill(sleeper, signal.SIGKILL)
    assert (await daemon.api.until(0, state="stopped"))["generation"] == 1


@pytest.fixture
def fixed() -> Iterator[Callable[[Path], None]]:
    """Make a directory immutable for the test."""
    directories: list[Path] = []

    def fix(directory: Path) -> None:
        if subprocess.run(["chattr", "+i", str(directory)], check=False).returncode != 0:
            pytest.skip("cannot make a directory immutable here")
        directories.append(directory)

    yield fix
    for each in directories:
        subprocess.run(["chattr", "-i", str(each)], check=False)


async def test_a_fifo_that_cannot_be_removed_prevents_no_start(
    daemon: Daemon, fixed: Callable[[Path], None]
) -> None:
    """The cleanup continues, and does not act twice on a reused descriptor."""
    Program(daemon.workspace)
    await daemon.start(stable_after=0.01)
    for number in (0, 1):
        await daemon.api.start(number, daemon.ports.reserve())
    other = await daemon.api.show(1)
    fixed(daemon.run_dir / "fifo")

    stopped = await daemon.api.act(0, "stop")

    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert stopped.body["last_exit"]["reason"] == "stopped"
    assert (await daemon.api.show(1))["pid"] == other["pid"]
    assert kernel.alive(other["pid"])
    assert daemon.events("fifo.not_removed")
    assert (await daemon.api.ask("DELETE", f"{API}/instances/0")).status in {200, 204}
