"""Drains of an instance."""

import asyncio
from dataclasses import replace

from typing_extensions import override

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.callers import Reply
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import StopAsked, WaitFor
from comfysup.supervision.protocols import NothingToDrain
from tests.unit.supervision.asking import DONE, GENTLE, start, stop
from tests.unit.supervision.fakes import FakeLauncher
from tests.unit.supervision.stage import Stage, alive


class FakeDrainer(NothingToDrain):
    """Has work until `done`; `drained` are the ids it was asked for, `let_go` how many ended."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.drained: list[int] = []
        self.let_go = 0

    @override
    async def drain(self, spec: InstanceSpec) -> None:
        self.drained.append(spec.id)
        try:
            await self.done.wait()
        finally:
            self.let_go += 1


class DefectiveDrainer(FakeDrainer):
    @override
    async def drain(self, spec: InstanceSpec) -> None:
        raise ZeroDivisionError("a defect in the drainer")


def stage_with(drainer: FakeDrainer, launcher: FakeLauncher | None = None) -> Stage:
    stage = Stage(launcher)
    stage.context = replace(stage.context, drainer=drainer)
    return stage


def drain(instance: Instance, seconds: float = 60.0) -> asyncio.Future[Reply]:
    return instance.ask(StopAsked(GENTLE, seconds), WaitFor.STOP)


async def test_a_drained_process_is_signalled_when_it_is_idle() -> None:
    drainer, launcher = FakeDrainer(), FakeLauncher()
    stage = stage_with(drainer, launcher)
    async with alive(stage) as instance:
        await start(instance)
        stopped = drain(instance)
        await stage.until(lambda: instance.life.phase is Phase.DRAINING)
        assert not launcher.process.signals

        drainer.done.set()

        assert await stopped == DONE
        assert drainer.drained == [0]
        assert stage.heard()[2:] == ["draining", "stopping", "exited", "stopped"]


async def test_a_draining_process_is_signalled_at_the_end_of_the_drain() -> None:
    drainer = FakeDrainer()
    async with alive(stage_with(drainer)) as instance:
        await start(instance)

        assert await drain(instance, 0.001) == DONE
        assert drainer.let_go == len(drainer.drained)


async def test_a_stop_ends_the_draining() -> None:
    drainer = FakeDrainer()
    stage = stage_with(drainer)
    async with alive(stage) as instance:
        await start(instance)
        drained = drain(instance)
        await stage.until(lambda: instance.life.phase is Phase.DRAINING)

        assert await stop(instance) == DONE
        assert await drained == DONE
        assert drainer.let_go == len(drainer.drained)


async def test_the_exit_of_the_process_ends_the_drain() -> None:
    drainer, launcher = FakeDrainer(), FakeLauncher()
    stage = stage_with(drainer, launcher)
    async with alive(stage) as instance:
        await start(instance)
        drained = drain(instance)
        await stage.until(lambda: instance.life.phase is Phase.DRAINING)

        launcher.process.end(1)

        assert await drained == DONE
        assert instance.life.phase is Phase.STOPPED
        assert drainer.let_go == len(drainer.drained)


async def test_the_next_daemon_continues_a_drain() -> None:
    drainer = FakeDrainer()
    stage = stage_with(drainer)
    async with alive(stage) as instance:
        await start(instance)
        drained = drain(instance)
        await stage.until(lambda: instance.life.phase is Phase.DRAINING)
        assert not drained.done()
        record = instance.record
    stage = stage_with(drainer)
    instance = Instance(record.spec, stage.context, record)
    task = asyncio.create_task(instance.run())
    await asyncio.sleep(0)
    assert instance.life.phase is Phase.DRAINING

    drainer.done.set()

    await stage.until(lambda: instance.life.phase is Phase.STOPPED)
    assert stage.heard()[0] == "adopted"
    task.cancel()
    await asyncio.wait([task])


async def test_an_internal_error_of_the_drainer_affects_only_its_instance() -> None:
    stage = stage_with(DefectiveDrainer())
    async with alive(stage) as instance:
        await start(instance)

        reply = await drain(instance)

        assert "ZeroDivisionError" in reply.message
        assert instance.life.phase is Phase.FAILED
