"""Output that a dead daemon had not moved to the log, of processes that were not adopted."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from comfysup.app.launcher import InstanceLauncher, Paths
from comfysup.app.recovery import going_on
from comfysup.linux.executor import Executors
from comfysup.linux.rundir.run_directory import RunDirectory
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import MAYBE_MORE, open_for_instance
from comfysup.logs.pump import LogPump
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Launching, Life, Stopped
from comfysup.supervision.records import InstanceRecord
from tests.scenarios.waiting import until

SPEC = InstanceSpec(2, "main", "comm", 3001)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    (tmp_path / "run").mkdir(mode=0o700)
    return RunDirectory.take(tmp_path / "run")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "comfyui_instance_2.log"


@pytest.fixture
async def launcher(run: RunDirectory, log: Path) -> AsyncIterator[InstanceLauncher]:
    pump, executors, no = LogPump(Rotation()), Executors(), cast("Any", None)
    pump.start()
    paths = Paths(run, log.parent, log.parent)
    yield InstanceLauncher(no, paths, no, no, pump, no, executors)
    await pump.close()
    executors.shutdown()


def read(log: Path) -> str | None:
    return log.read_text() if log.exists() else None


def output(run: RunDirectory, generation: int = 3) -> int:
    """A FIFO with an unread line, whose writer has exited and which another process holds."""
    fifo = run.fifo(SPEC.id, generation)
    os.mkfifo(fifo)
    with closing(os.fdopen(open_for_instance(fifo, "from a process that has ended"))):
        return os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)


async def test_the_output_of_a_process_that_ended_during_its_launch_is_logged(
    launcher: InstanceLauncher, run: RunDirectory, log: Path
) -> None:
    """The descriptors that were handed over are closed once all searches have begun."""
    held = output(run)

    search = asyncio.create_task(launcher.find(SPEC, 3))
    await asyncio.sleep(0)
    os.close(held)

    assert await search is None
    assert read(log) == "from a process that has ended\n"
    assert run.fifos() == []


async def test_the_log_notes_that_output_of_a_launch_may_be_missing(
    launcher: InstanceLauncher, run: RunDirectory, log: Path
) -> None:
    os.close(output(run))

    assert await launcher.find(SPEC, 3) is None
    assert read(log) == f"{MAYBE_MORE}\n"
    assert run.fifos() == []


async def test_a_launch_that_made_no_process_leaves_no_note(
    launcher: InstanceLauncher, log: Path
) -> None:
    assert await launcher.find(SPEC, 3) is None
    assert read(log) is None


@pytest.mark.parametrize("held", [True, False])
async def test_the_rest_of_abandoned_outputs_is_logged(
    launcher: InstanceLauncher,
    run: RunDirectory,
    log: Path,
    held: bool,  # noqa: FBT001 - a parameter
) -> None:
    """As after the death of a daemon with a stalled log."""
    descriptor = output(run)
    if not held:
        os.close(descriptor)

    launcher.settle_outputs(frozenset({(2, 4), (3, 3)}))

    await until(lambda: run.fifos() == [])
    assert read(log) == (f"{MAYBE_MORE}\n", "from a process that has ended\n")[held]
    if held:
        os.close(descriptor)


async def test_the_output_of_an_instance_that_is_still_launching_is_not_settled(
    launcher: InstanceLauncher, run: RunDirectory, log: Path
) -> None:
    os.close(output(run))
    record = InstanceRecord(SPEC, SPEC, Life(Launching(), generation=3), None)

    launcher.settle_outputs(going_on([record]))

    assert run.fifos() == [(run.fifo(2, 3), 2, 3)]
    assert read(log) is None
    assert going_on([InstanceRecord(SPEC, SPEC, Life(Stopped(), generation=3), None)]) == set()
