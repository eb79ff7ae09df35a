"""A full or read-only run directory: scenario 32."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.events import events_of
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until
from tests.unit.api.streams import Event


@pytest.fixture
def disk(daemon: Daemon) -> Iterator[Path]:
    """The run directory of the daemon as a small file system."""
    daemon.run_dir.mkdir(mode=0o700)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(daemon.run_dir)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("cannot mount here")
    yield daemon.run_dir
    subprocess.run(["umount", "--lazy", str(daemon.run_dir)], check=True)


def fill(disk: Path) -> Callable[[], None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler.unlink


def make_read_only(disk: Path) -> Callable[[], None]:
    # A real read-only remount is refused while files are open for writing.
    if subprocess.run(["chattr", "+i", str(disk)], check=False).returncode != 0:
        pytest.skip("cannot make a directory immutable here")

    def mend() -> None:
        subprocess.run(["chattr", "-i", str(disk)], check=True)

    return mend


def written(daemon: Daemon) -> dict[int, dict[str, Any]]:
    state = json.loads((daemon.run_dir / "state.json").read_text())
    return {each["spec"]["id"]: each for each in state["instances"]}


async def heard(daemon: Daemon, *names: str) -> list[Event]:
    """Waits for the first event of each name since the daemon began, in this order."""
    found = []
    async with events_of(daemon, last=1) as stream:
        for name in names:
            while (event := (await stream.take(1))[0]).name != name:
                pass
            found.append(event)
    return found


async def describe_at_length(daemon: Daemon) -> None:
    """Make the state longer than the disk space that it has."""
    for each in await daemon.api.show_all():
        await daemon.api.start(each["id"], each["port"], description="ä" * 1_000)


async def begin(daemon: Daemon) -> tuple[dict[str, Any], dict[str, Any]]:
    Program(daemon.workspace)
    await daemon.start(stable_after=0.01)
    for number in (0, 1):
        await daemon.api.start(number, daemon.ports.reserve())
    return await daemon.api.show(0), await daemon.api.show(1)


@pytest.mark.parametrize("spoil", [fill, make_read_only], ids=["full", "read-only"])
async def test_instances_keep_running_and_the_state_is_written_once_possible(
    daemon: Daemon, disk: Path, spoil: Callable[[Path], Callable[[], None]]
) -> None:
    """Scenario 32: the error is reported once, and the state is written as soon as possible."""
    first, second = await begin(daemon)

    mend = spoil(disk)
    await describe_at_length(daemon)
    stopped = await daemon.api.act(1, "stop")
    assert (stopped.status, stopped.body["state"]) == (200, "stopped")
    assert kernel.alive(first["pid"])
    assert first["pid"] == (await daemon.api.show(0))["pid"]
    assert written(daemon)[1]["life"]["state"]["is"] == "Running"  # the old one, whole
    (said,) = daemon.events("state.unwritable")
    assert str(daemon.run_dir) in said["error"] + said["file"]
    mend()
    await daemon.api.until_well()
    assert written(daemon)[1]["life"]["state"]["is"] == "Stopped"  # without a change
    assert (await daemon.api.act(1, "start")).body["state"] == "running"

    assert daemon.events("state.writable_again")
    third = await daemon.api.until(1, state="running")
    assert written(daemon)[1]["process"]["pid"] == third["pid"] != second["pid"]
    await daemon.kill()
    await daemon.start()
    assert [first["pid"], third["pid"]] == [each["pid"] for each in await daemon.api.show_all()]


async def test_an_unwritable_state_file_is_reported_everywhere_until_it_can_be_written(
    daemon: Daemon, disk: Path
) -> None:
    """Scenario 32."""
    await begin(daemon)

    mend = fill(disk)
    await describe_at_length(daemon)
    troubles = await daemon.api.troubles()
    ready = await daemon.api.ask("GET", "/readyz")
    mend()
    await daemon.api.until_well()
    impaired, recovered = await heard(daemon, "daemon.impaired", "daemon.recovered")

    assert troubles == [f"cannot write {disk}/state.json: No space left on device"]
    assert (ready.status, ready.body["troubles"]) == (200, troubles)
    assert (impaired.data["troubles"], recovered.data["troubles"]) == (troubles, [])


async def test_a_crash_while_the_state_is_unwritable_is_handled(daemon: Daemon) -> None:
    """Scenario 32, with only the state file unwritable: instances are restarted nevertheless."""
    first, _ = await begin(daemon)
    draft = daemon.run_dir / "state.draft"
    draft.unlink()
    draft.symlink_to("/dev/full")

    os.kill(first["pid"], signal.SIGKILL)
    again = await daemon.api.until(0, state="running", generation=2)
    draft.unlink()
    await daemon.api.act(1, "stop")

    assert len(daemon.events("state.unwritable")) == 1
    await until(lambda: written(daemon)[0]["process"]["pid"] == again["pid"])


async def test_a_daemon_with_an_outdated_state_file_refuses_to_restart_in_place(
    daemon: Daemon, disk: Path
) -> None:
    """The next program would resume an outdated state: a stop would be lost."""
    await begin(daemon)
    mend = make_read_only(disk)
    await daemon.api.act(0, "stop")

    refused = await daemon.api.ask("POST", f"{API}/daemon/restart")
    daemon.signal(signal.SIGHUP)
    await until(lambda: len(daemon.events("daemon.restart_refused")) == 2)
    shown = await daemon.api.show(0)
    mend()
    await daemon.api.until_well()
    daemon.signal(signal.SIGHUP)
    await until(lambda: len(daemon.events("daemon.started")) == 2)

    assert (refused.status, refused.body["code"]) == (409, "restart_refused")
    assert "the state file cannot be written" in refused.body["detail"]
    assert shown["state"] == "stopped"
    assert (await daemon.api.show(0))["state"] == "stopped"
