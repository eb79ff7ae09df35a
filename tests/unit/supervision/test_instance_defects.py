"""An internal error within one instance leads to `failed`, and the instance can be restarted."""

import asyncio
from contextlib import suppress

import pytest
from typing_extensions import override

from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Life, Phase, Run, Running
from comfysup.supervision.lifecycle_events import LifecycleEvent, WaitFor, WaitOutcome
from comfysup.supervision.monitor import Health
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from tests.unit.supervision.asking import DONE, OVERRIDDEN, start, stop
from tests.unit.supervision.fakes import (
    DefectiveLauncher,
    DefectiveProbe,
    FakeLauncher,
    FakeProbe,
    FakeProber,
    LateLauncher,
    LitteringProcess,
    UnadoptingLauncher,
    UnsweepableProcess,
    spec_of,
)
from tests.unit.supervision.stage import Stage, alive, now

# ---- defects


async def test_an_internal_error_of_the_launcher_fails_the_instance_with_its_text() -> None:
    launcher = DefectiveLauncher(0)
    async with alive(Stage(launcher)) as instance:
        reply = await start(instance)
        assert reply.verdict is WaitOutcome.FAILED
        assert "a defect in the launcher" in reply.message
        assert instance.life.phase is Phase.FAILED
        launcher.victims.clear()

        assert await start(instance) == DONE
        assert launcher.overlaps == []


async def test_an_internal_error_of_the_probe_ends_the_process() -> None:
    launcher, prober = FakeLauncher(), FakeProber(DefectiveProbe)
    async with alive(Stage(launcher, prober)) as instance:
        assert (await start(instance)).verdict is WaitOutcome.FAILED
        assert launcher.living(0) == 0
        prober.make = FakeProbe

        assert await start(instance) == DONE
        assert launcher.overlaps == []


@pytest.mark.parametrize("notice", [LifecycleEvent.STARTING, LifecycleEvent.READY])
async def test_an_exception_in_an_observer_is_contained(notice: LifecycleEvent) -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    stage.deaf_to.add(notice)
    async with alive(stage) as instance:
        await start(instance)
        await stage.until(lambda: instance.life.phase is Phase.FAILED)
        assert launcher.living(0) == 0
        stage.deaf_to.clear()

        assert await start(instance) == DONE


async def test_callers_are_answered_although_the_observer_always_raises() -> None:
    stage = Stage()
    stage.deaf_to.update(LifecycleEvent)
    async with alive(stage) as instance:
        for _ in range(3):
            assert await start(instance, WaitFor.SPAWN) == DONE
            await stage.until(lambda: instance.life.phase is Phase.FAILED)


async def test_an_internal_error_of_the_sweep_is_contained() -> None:
    launcher = FakeLauncher(UnsweepableProcess)
    async with alive(Stage(launcher)) as instance:
        await start(instance)
        assert (await stop(instance)).verdict is WaitOutcome.FAILED
        assert instance.life.phase is Phase.FAILED
        launcher.make = FakeLauncher().make

        assert await start(instance) == DONE


async def test_after_an_internal_error_health_is_unknown() -> None:
    stage = Stage()
    stage.deaf_to.add(LifecycleEvent.READY)
    async with alive(stage) as instance:
        assert await start(instance) == DONE
        await stage.until(lambda: instance.life.phase is Phase.FAILED)

        assert instance.health == Health()


async def test_an_internal_error_after_a_sweep_does_not_sweep_the_process_again() -> None:
    launcher = DefectiveLauncher()
    async with alive(Stage(launcher)) as instance:
        await start(instance)
        await stop(instance)
        launcher.victims.add(0)

        assert (await start(instance)).verdict is WaitOutcome.FAILED
        assert launcher.process.sweeps == 1


async def test_a_process_spawned_during_an_internal_error_is_ended() -> None:
    launcher = LateLauncher()
    stage = Stage(launcher)
    stage.deaf_to.add(LifecycleEvent.STOPPING)
    async with alive(stage) as instance:
        started = start(instance)
        await launcher.waiting.wait()

        assert (await stop(instance)).verdict is WaitOutcome.FAILED
        assert await started == OVERRIDDEN
        assert launcher.living(0) == 0
        launcher.gate.set()
        assert await start(instance) == DONE
        assert stage.heard() == ["stopping", "failed", "starting", "ready"]


class DeafProbe(FakeProbe):
    """Loses the cancellation of the wait for readiness, and reports readiness afterwards."""

    @override
    async def until_ready(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_probe_that_loses_its_cancellation_reports_nothing_after_the_stop() -> None:
    """A report of an ended process would be impossible in `Stopped`."""
    stage = Stage(prober=FakeProber(DeafProbe))
    async with alive(stage) as instance:
        assert await start(instance, WaitFor.SPAWN) == DONE
        assert await stop(instance) == DONE
        for _ in range(5):  # turns of the loop, in which a late report would come
            await asyncio.sleep(0)

        assert instance.life.phase is Phase.STOPPED
        assert "failed" not in stage.heard()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfysup.supervision.generation.KILL_PATIENCE", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_process_that_does_not_end_after_an_internal_error_is_stuck() -> None:
    launcher, prober = FakeLauncher(LitteringProcess), FakeProber(DefectiveProbe)
    stage = Stage(launcher, prober)
    async with alive(stage) as instance:
        first = await start(instance)
        assert (first.verdict, first.message) == (
            WaitOutcome.STUCK,
            "SIGKILL did not end it: pid 4242",
        )
        assert instance.life.phase is Phase.STUCK
        assert instance.held_port == instance.spec.port
        assert instance.record.process is not None
        assert (await stop(instance)).verdict is WaitOutcome.STUCK
        prober.make, launcher.make = FakeProbe, FakeLauncher().make
        assert (await start(instance)).verdict is WaitOutcome.STUCK

        process = launcher.processes[0]
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        await stage.until(lambda: instance.life.phase is Phase.RUNNING)
        assert launcher.overlaps == []


@pytest.mark.usefixtures("impatient")
async def test_an_instance_whose_process_ends_late_after_an_internal_error_is_failed() -> None:
    launcher = FakeLauncher(LitteringProcess)
    stage = Stage(launcher, FakeProber(DefectiveProbe))
    async with alive(stage) as instance:
        await start(instance)
        process = launcher.processes[0]
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        await stage.until(lambda: instance.life.phase is Phase.FAILED)

        assert instance.life.last_exit is not None
        assert instance.life.last_exit.reason == "internal_error"
        assert instance.record.process is None
        assert stage.heard()[-2:] == ["stuck", "failed"]


async def test_a_process_that_cannot_be_adopted_yet_keeps_running_on_its_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No descriptor is free, or its file system does not support FIFOs."""
    monkeypatch.setattr("comfysup.supervision.generation.AGAIN", 0.001)
    launcher = UnadoptingLauncher()
    stage = Stage(launcher)
    run = Run(77, now())
    record = InstanceRecord(spec_of(), spec_of(), Life(Running(run, None), 3), ProcessRecord(77, 1))
    instance = Instance(spec_of(), stage.context, record)
    task = asyncio.create_task(instance.run())
    await launcher.refused.wait()
    assert (instance.life.phase, instance.record.process) == (Phase.RUNNING, record.process)
    assert launcher.processes == []

    stopping = stop(instance)
    launcher.adopts = True
    assert await stopping == DONE
    assert launcher.process.sweeps == 1
    task.cancel()
    await asyncio.wait([task])
