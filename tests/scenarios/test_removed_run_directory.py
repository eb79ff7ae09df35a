"""A run directory removed while the daemon runs is recreated and reported."""

import asyncio
import os
import shutil
from collections.abc import Callable

import pytest

from tests.scenarios.harness import SERVE as COMMAND
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until

SPEAKER = "while [ ! -e '<directory>/go' ]; do sleep 0.02; done; echo here I am; " + SERVE


def remove_all(daemon: Daemon) -> None:
    """Remove the run directory, to which the daemon may write at any moment."""
    shutil.rmtree(daemon.run_dir, ignore_errors=True)
    while daemon.run_dir.exists() and not (daemon.run_dir / "api.sock").exists():
        shutil.rmtree(daemon.run_dir, ignore_errors=True)


REMOVALS: dict[str, Callable[[Daemon], None]] = {
    "all": remove_all,
    "its socket": lambda daemon: (daemon.run_dir / "api.sock").unlink(),
    "its lock": lambda daemon: (daemon.run_dir / "daemon.lock").unlink(),
    "its identity": lambda daemon: (daemon.run_dir / "identity").unlink(),
}


async def command(daemon: Daemon, *words: str) -> int:
    environ = {**os.environ, "COMFYSUP_RUN_DIR": str(daemon.run_dir)}
    process = await asyncio.create_subprocess_exec(*COMMAND[:-1], *words, env=environ)
    return await process.wait()


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
async def test_a_removed_run_directory_is_recreated_and_reported(
    daemon: Daemon, remove: Callable[[Daemon], None]
) -> None:
    """The command line works again, no second daemon starts, and the next daemon loses nothing."""
    program = Program(daemon.workspace, script=SPEAKER)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"}, name="mine")
    before = await daemon.api.show(0)

    remove(daemon)
    second = await daemon.spawn()
    await until(lambda: bool(daemon.events("run_directory.mended")))

    assert await second.wait() == 1
    assert await command(daemon, "health") == 0
    await daemon.kill()
    (program.directory / "go").touch()
    await daemon.start()
    after = await daemon.api.until(0, state="running")
    assert [before[name] for name in ("pid", "generation", "name")] == [
        after[name] for name in ("pid", "generation", "name")
    ]
    await until(lambda: "here I am" in daemon.instance_log(0))


async def test_the_output_of_an_instance_whose_fifo_is_removed_is_not_lost(
    daemon: Daemon,
) -> None:
    program = Program(daemon.workspace, script=SPEAKER)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
    before = await daemon.api.show(0)
    (fifo,) = (daemon.run_dir / "fifo").iterdir()
    fifo.unlink()
    await daemon.kill()
    (program.directory / "go").touch()

    await daemon.start()
    after = await daemon.api.until(0, state="running")

    await until(lambda: "here I am" in daemon.instance_log(0))
    assert (after["pid"], after["generation"]) == (before["pid"], 1)


async def test_the_copy_of_an_unreadable_state_file_is_reported_until_it_is_removed(
    daemon: Daemon,
) -> None:
    daemon.run_dir.mkdir(mode=0o700)
    (daemon.run_dir / "state.json").write_text("{")
    await daemon.start()
    (trouble,) = await daemon.api.troubles()
    assert "state.broken" in trouble

    (daemon.run_dir / "state.broken").unlink()

    await daemon.api.until_well()
