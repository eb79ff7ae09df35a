"""Concurrent requests to one instance."""

from signal import Signals

from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import WaitOutcome
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.asking import DONE, OVERRIDDEN, restart, start, stop
from tests.unit.supervision.fakes import (
    FakeLauncher,
    LateLauncher,
    LitteringProcess,
    SlowLauncher,
    UnkillableProcess,
)
from tests.unit.supervision.stage import Stage, alive

# ---- who wins


async def test_stop_then_start_is_answered_in_that_order_and_ends_running() -> None:
    launcher = FakeLauncher()
    async with alive(Stage(launcher)) as instance:
        await start(instance)
        stopped, started = stop(instance), start(instance)

        assert await stopped == DONE
        assert not launcher.processes[0].alive
        assert await started == DONE
        assert (instance.life.phase, instance.life.generation) == (Phase.RUNNING, 2)


async def test_a_stop_resolves_an_earlier_start_as_overridden() -> None:
    launcher = FakeLauncher()
    async with alive(Stage(launcher)) as instance:
        started, stopped = start(instance), stop(instance)

        assert [await started, await stopped] == [OVERRIDDEN, DONE]
        assert launcher.living(0) == 0


async def test_a_stop_cancels_a_launch_that_has_spawned_nothing() -> None:
    launcher = SlowLauncher()
    async with alive(Stage(launcher)) as instance:
        started = start(instance)
        await launcher.waiting.wait()

        assert await stop(instance) == DONE
        assert await started == OVERRIDDEN
        assert launcher.processes == []


async def test_a_process_spawned_before_its_launch_was_cancelled_is_ended() -> None:
    launcher = LateLauncher()
    async with alive(Stage(launcher)) as instance:
        started = start(instance)
        await launcher.waiting.wait()

        assert await stop(instance) == DONE
        assert await started == OVERRIDDEN
        assert launcher.process.signals == [Signals.SIGINT]
        assert launcher.living(0) == 0


async def test_a_start_after_a_cancelled_launch_makes_one_process() -> None:
    launcher = SlowLauncher()
    async with alive(Stage(launcher)) as instance:
        called_off = start(instance)
        await launcher.waiting.wait()
        stopped, started = stop(instance), start(instance)

        assert [await called_off, await stopped] == [OVERRIDDEN, DONE]
        launcher.gate.set()

        assert await started == DONE
        assert len(launcher.processes) == 1


async def test_nothing_is_launched_while_descendants_of_the_last_process_live() -> None:
    launcher = FakeLauncher(LitteringProcess)
    stage = Stage(launcher)
    async with alive(stage) as instance:
        await start(instance)
        first = launcher.process
        assert isinstance(first, LitteringProcess)
        restarted = restart(instance)
        await stage.until(lambda: "exited" in stage.heard())
        assert len(launcher.launches) == 1
        first.tidied.set()

        assert await restarted == DONE
        assert len(launcher.launches) == 2
        assert launcher.overlaps == []


async def test_a_process_that_cannot_be_killed_is_stuck_until_it_ends() -> None:
    launcher = FakeLauncher(UnkillableProcess)
    stage = Stage(launcher)
    async with alive(stage) as instance:
        await start(instance)
        reply = await stop(instance, StopEscalation(0.001, 0.002, 0.003))
        assert (reply.verdict, instance.life.phase) == (WaitOutcome.STUCK, Phase.STUCK)
        launcher.process.end(None, Signals.SIGKILL)
        await stage.until(lambda: instance.life.phase is Phase.STOPPED)

        assert stage.heard()[-3:] == ["stuck", "exited", "stopped"]
