"""Launches interrupted by the death of the daemon: their process is searched for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from typing_extensions import override

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Aborting, Launching, Life, Phase, State, StayStopped
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from tests.unit.supervision.asking import DONE, GENTLE, start, stop
from tests.unit.supervision.fakes import FakeLauncher, spec_of
from tests.unit.supervision.stage import Stage


class SearchingLauncher(FakeLauncher):
    """Finds `found`, once `answers` is set."""

    def __init__(self, found: ProcessRecord | None) -> None:
        super().__init__()
        self.found = found
        self.answers = asyncio.Event()

    @override
    async def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        await self.answers.wait()
        return self.found


@asynccontextmanager
async def resumed(launcher: SearchingLauncher, state: State) -> AsyncIterator[Instance]:
    stage = Stage(launcher)
    record = InstanceRecord(spec_of(), spec_of(), Life(state, 3), None)
    instance = Instance(spec_of(), stage.context, record)
    task = asyncio.create_task(instance.run())
    try:
        yield instance
    finally:
        task.cancel()
        await asyncio.wait([task])


FOUND = ProcessRecord(77, 1)


@pytest.mark.parametrize("found", [FOUND, None], ids=["found", "not found"])
async def test_a_resumed_launch_adopts_or_spawns_one_process(found: ProcessRecord | None) -> None:
    launcher = SearchingLauncher(found)
    async with resumed(launcher, Launching()) as instance:
        ready = start(instance)
        launcher.answers.set()

        assert await ready == DONE
        assert len(launcher.processes) == 1
        assert len(launcher.launches) == (0 if found else 1)
        assert instance.life.generation == 3


@pytest.mark.parametrize("found", [FOUND, None], ids=["found", "not found"])
async def test_a_stop_waits_for_the_search_and_leaves_no_process(
    found: ProcessRecord | None,
) -> None:
    launcher = SearchingLauncher(found)
    async with resumed(launcher, Launching()) as instance:
        stopped = stop(instance)
        await asyncio.sleep(0)
        launcher.answers.set()

        assert await stopped == DONE
        assert launcher.launches == []
        assert len(launcher.processes) == (1 if found else 0)
        assert launcher.living(0) == 0


@pytest.mark.parametrize("found", [FOUND, None], ids=["found", "not found"])
async def test_a_resumed_cancelled_launch_ends(found: ProcessRecord | None) -> None:
    launcher = SearchingLauncher(found)
    async with resumed(launcher, Aborting(StayStopped(), GENTLE)) as instance:
        stopped = stop(instance)
        launcher.answers.set()

        assert await stopped == DONE
        assert (launcher.launches, launcher.living(0)) == ([], 0)
        assert instance.life.phase is Phase.STOPPED


async def test_the_daemon_ends_during_the_search() -> None:
    others = asyncio.all_tasks()
    launcher = SearchingLauncher(FOUND)
    async with resumed(launcher, Launching()):
        await asyncio.sleep(0)

    assert asyncio.all_tasks() == others
    assert launcher.processes == []
