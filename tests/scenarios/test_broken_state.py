"""Invalid, outdated and damaged state files: scenario 29; two daemons at once: scenario 30."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import kernel
from tests.scenarios.harness import SERVE as COMMAND
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import HANG, bounded, until

MAIN = """
import subprocess, sys
subprocess.Popen(["setsid", "sleep", "3600"])
sys.argv[1] = sys.argv[sys.argv.index("--port") + 1]
exec(open("server.py").read())
"""
"""A ComfyUI that is a Python program, with a command line to be recognised by."""


@contextmanager
def foreign_process() -> Iterator[list[int]]:
    """A foreign session leader and its child: their pids."""
    script = "sleep 3600 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        pids = [process.pid, int(process.stdout.readline())]
        yield pids
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)


async def running(daemon: Daemon, count: int = 1) -> list[dict[str, Any]]:
    """Ready instances, each with a descendant outside its group."""
    program = Program(daemon.workspace)
    program.python.unlink()
    program.python.symlink_to(sys.executable)
    (program.directory / "main.py").write_text(MAIN)
    await daemon.start(stable_after=0.01)
    for number in range(count):
        await daemon.api.start(number, daemon.ports.reserve(), extra_args=["--lowvram", "a b"])
    return [await daemon.api.until(number, state="running") for number in range(count)]


def forge(daemon: Daemon, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the state file of the dead daemon."""
    file = daemon.run_dir / "state.json"
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))


def kill(instance: dict[str, Any]) -> None:
    os.kill(instance["pid"], signal.SIGKILL)


@pytest.mark.parametrize("stopping", [False, True], ids=["running", "stopping"])
@pytest.mark.parametrize("fits", [False, True], ids=["recycled", "edited"])
async def test_a_recycled_pid_is_not_adopted_or_signalled(
    daemon: Daemon,
    stopping: bool,  # noqa: FBT001 - a parameter
    fits: bool,  # noqa: FBT001 - likewise
) -> None:
    """Scenario 29: its new owner is not signalled, nor are its group, session and children.

    Nor where the start time `fits`, since somebody has edited the file.
    """
    (instance,) = await running(daemon)
    await daemon.kill()
    kill(instance)

    with foreign_process() as foreign:

        def recycle(state: dict[str, Any]) -> None:
            record = state["instances"][0]
            record["process"]["pid"] = record["life"]["state"]["run"]["pid"] = foreign[0]
            if fits:
                record["process"]["start_time"] = int(kernel.stat(foreign[0])[19])
            if stopping:
                escalation = {"terminate": 0.0, "kill": 0.0, "give_up": 0.0}
                run = record["life"]["state"]["run"]
                then = {"is": "Rest"}
                record["life"]["state"] = {
                    "is": "Stopping",
                    "run": run,
                    "ladder": escalation,
                    "rung": "SIGINT",
                    "then": then,
                }

        forge(daemon, recycle)
        await daemon.start()
        if stopping:
            await daemon.api.until(0, state="stopped")
        else:
            await daemon.api.until(0, state="running", generation=2)
        await daemon.api.act(0, "stop")

        assert all(kernel.alive(pid) for pid in foreign)
    assert not daemon.processes()


@pytest.mark.parametrize(
    "other", [{"boot_id": "0" * 36}, {"init_start_time": 1}], ids=["boot", "container life"]
)
async def test_state_of_an_earlier_boot_is_ignored(daemon: Daemon, other: dict[str, Any]) -> None:
    """Scenario 29: no recorded process is adopted, restarted or signalled."""
    (instance,) = await running(daemon)
    await daemon.kill()
    left = daemon.processes()
    for pid in left:  # a boot leaves nobody
        os.kill(pid, signal.SIGKILL)

    with foreign_process() as foreign:

        def recycle(state: dict[str, Any]) -> None:
            state["instances"][0]["process"] = {
                "pid": foreign[0],
                "start_time": int(kernel.stat(foreign[0])[19]),
            }
            state.update(other)

        forge(daemon, recycle)
        await daemon.start()

        assert await daemon.api.show_all() == []
        assert all(kernel.alive(pid) for pid in foreign)
    assert instance["pid"] in left
    assert daemon.events("state.of_another_life")


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:60],
    "zeros": lambda content: b"\0" * len(content),
    "null": lambda _content: b"null",
    "too deep": lambda _content: b"[" * 100_000,
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN)
async def test_running_instances_are_adopted_despite_a_damaged_state_file(
    daemon: Daemon, breaking: Callable[[bytes], bytes]
) -> None:
    """Scenario 29: no process is signalled, a copy of the file is kept, and both are reported."""
    before = await running(daemon, 2)
    alive = daemon.processes()
    await daemon.kill()
    file = daemon.run_dir / "state.json"
    broken = breaking(file.read_bytes())
    file.write_bytes(broken)

    await daemon.start()
    after = [await daemon.api.until(number, state="running") for number in range(2)]

    names = ("id", "pid", "generation", "port", "environment", "extra_args", "wanted")
    assert [{name: each[name] for name in names} for each in before] == [
        {name: each[name] for name in names} for each in after
    ]
    lived = kernel.since_boot() - kernel.started_at(after[0]["pid"])
    assert lived - HANG <= after[0]["uptime_seconds"] <= lived
    assert set(alive) == set(daemon.processes())  # a shell may not have become its command yet
    assert broken == file.with_suffix(".broken").read_bytes()
    (said,) = daemon.events("state.broken")
    assert str(file.with_suffix(".broken")) == said["kept"]
    assert len(daemon.events("instance.recognised")) == 2
    assert (await daemon.api.act(1, "stop")).status == 200


async def test_state_written_by_another_version_is_adopted(daemon: Daemon) -> None:
    """A downgrade and an upgrade lose only the fields that one of the versions does not know."""
    before = await running(daemon, 3)
    await daemon.api.act(2, "stop")
    alive = daemon.processes()
    await daemon.kill()

    def rewrite(state: dict[str, Any]) -> None:
        state.update(version=2, novelty={})
        for record in state["instances"]:
            record["life"]["novelty"] = record["spec"]["policy"]["novelty"] = 1
            record["spec"]["name"] = f"named {record['spec']['id']}"
        state["instances"][1]["life"]["state"] = {"is": "Sleeping", "novelty": 1}

    forge(daemon, rewrite)
    await daemon.start(stable_after=0.01)
    after = [await daemon.api.until(number, state="running") for number in range(2)]
    stopped = await daemon.api.show(2)

    names = ("pid", "generation", "extra_args")
    assert [[each[name] for name in names] for each in before[:2]] == [
        [each[name] for name in names] for each in after
    ]
    shown = [each["name"] for each in (*after, stopped)]
    assert shown == ["named 0", "named 1", "named 2"]
    assert stopped["state"] == "stopped"
    assert set(alive) == set(daemon.processes())  # a shell may not have become its command yet
    (trouble,) = await daemon.api.troubles()
    assert "instance 1 'named 1': life.state" in trouble
    assert str(daemon.run_dir / "state.broken") in trouble


GARBAGE = {
    "zeros": bytes(16),
    "empty": b"",
    "half": b"0123",
    "no ASCII": b"\xff" * 16,
    "a path": b"../../../../etc/",
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
async def test_a_damaged_identity_is_restored_from_the_state_file(
    daemon: Daemon, content: bytes
) -> None:
    """The marker of descendants stays the same."""
    (instance,) = await running(daemon)
    alive = daemon.processes()
    file = daemon.run_dir / "identity"
    word = file.read_bytes()
    await daemon.kill()
    file.write_bytes(content)

    await daemon.start(stable_after=0.01)
    shown = await daemon.api.until(0, state="running")

    assert word == file.read_bytes()
    assert shown["pid"] == instance["pid"]
    assert set(alive) == set(daemon.processes())  # a shell may not have become its command yet


async def test_a_run_directory_full_of_garbage_yields_an_empty_table(daemon: Daemon) -> None:
    """After a power failure the content of the run directory is arbitrary."""
    daemon.run_dir.mkdir(mode=0o700)
    for name in ("identity", "state.json", "state.draft", "daemon.lock", "api.sock"):
        (daemon.run_dir / name).write_bytes(bytes(40))
    for name in ("identity.new", "state.broken"):
        (daemon.run_dir / name).symlink_to("/dev/full")
    (daemon.run_dir / "queue").mkdir()
    os.mkfifo(daemon.run_dir / "queue" / "0.json")

    Program(daemon.workspace)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())

    assert (await daemon.api.until(0, state="running"))["generation"] == 1


async def test_an_unrecognised_process_is_reported_and_left_running(daemon: Daemon) -> None:
    """Scenario 29: a descendant without its leader, and a foreign process with the marker."""
    (instance,) = await running(daemon)
    await daemon.kill()
    kill(instance)
    await until(lambda: not kernel.alive(instance["pid"]))
    (daemon.run_dir / "state.json").write_text("{")
    (orphan,) = daemon.processes()

    await daemon.start()

    assert await daemon.api.show_all() == []
    assert kernel.alive(orphan)
    (said,) = daemon.events("instance.unrecognised")
    assert [orphan] == said["pids"]
    os.kill(orphan, signal.SIGKILL)
    await until(lambda: not kernel.alive(orphan))


async def test_a_second_daemon_names_the_first_and_exits(daemon: Daemon, tmp_path: Path) -> None:
    """Scenario 30."""
    (instance,) = await running(daemon)

    second = await asyncio.create_subprocess_exec(
        *COMMAND,
        env={**daemon._environ({}), "COMFYSUP_PORT": str(daemon.ports.reserve())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
    )
    async with bounded():
        said, _ = await second.communicate()

    assert second.returncode == 1
    text = said.decode()
    assert str(daemon.run_dir) in text
    assert f"pid {daemon.pid}" in text
    assert "Traceback" not in text
    assert (await daemon.api.show(0))["pid"] == instance["pid"]
