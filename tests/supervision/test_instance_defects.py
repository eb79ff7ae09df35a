"""A defect within one instance ends as its `failed`, and a caller may start it again."""

import pytest

from comfysup.supervision.events import Asker, Notice, Verdict
from comfysup.supervision.life import Phase
from comfysup.supervision.monitor import Health
from tests.supervision.asking import DONE, OVERRIDDEN, start, stop
from tests.supervision.fakes import (
    DefectiveLauncher,
    DefectiveProbe,
    FakeLauncher,
    FakeProbe,
    FakeProber,
    LateLauncher,
    UnsweepableProcess,
)
from tests.supervision.stage import Stage, alive

# ---- defects


async def test_a_defect_of_the_launcher_is_failed_with_its_text_and_can_be_started_again() -> None:
    launcher = DefectiveLauncher(0)
    async with alive(Stage(launcher)) as instance:
        reply = await start(instance)
        assert reply.verdict is Verdict.FAILED
        assert "a defect in the launcher" in reply.message
        assert instance.life.phase is Phase.FAILED
        launcher.victims.clear()

        assert await start(instance) == DONE
        assert launcher.overlaps == []


async def test_a_defect_of_the_probe_ends_the_process_and_can_be_started_again() -> None:
    launcher, prober = FakeLauncher(), FakeProber(DefectiveProbe)
    async with alive(Stage(launcher, prober)) as instance:
        assert (await start(instance)).verdict is Verdict.FAILED
        assert launcher.living(0) == 0
        prober.make = FakeProbe

        assert await start(instance) == DONE
        assert launcher.overlaps == []


@pytest.mark.parametrize("notice", [Notice.STARTING, Notice.READY])
async def test_a_defect_of_who_listens_is_contained(notice: Notice) -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    stage.deaf_to.add(notice)
    async with alive(stage) as instance:
        await start(instance)
        await stage.until(lambda: instance.life.phase is Phase.FAILED)
        assert launcher.living(0) == 0
        stage.deaf_to.clear()

        assert await start(instance) == DONE


async def test_who_listens_may_be_broken_for_good_and_callers_are_still_answered() -> None:
    stage = Stage()
    stage.deaf_to.update(Notice)
    async with alive(stage) as instance:
        for _ in range(3):
            assert await start(instance, Asker.SPAWN) == DONE
            await stage.until(lambda: instance.life.phase is Phase.FAILED)


async def test_a_defect_of_the_sweep_is_contained() -> None:
    launcher = FakeLauncher(UnsweepableProcess)
    async with alive(Stage(launcher)) as instance:
        await start(instance)
        assert (await stop(instance)).verdict is Verdict.FAILED
        assert instance.life.phase is Phase.FAILED
        launcher.make = FakeLauncher().make

        assert await start(instance) == DONE


async def test_after_a_defect_no_health_is_shown() -> None:
    stage = Stage()
    stage.deaf_to.add(Notice.READY)
    async with alive(stage) as instance:
        assert await start(instance) == DONE
        await stage.until(lambda: instance.life.phase is Phase.FAILED)

        assert instance.health == Health()


async def test_a_defect_after_a_sweep_does_not_sweep_the_same_process_again() -> None:
    launcher = DefectiveLauncher()
    async with alive(Stage(launcher)) as instance:
        await start(instance)
        await stop(instance)
        launcher.victims.add(0)

        assert (await start(instance)).verdict is Verdict.FAILED
        assert launcher.process.sweeps == 1


async def test_a_process_that_is_made_while_a_defect_is_contained_is_ended_unseen() -> None:
    launcher = LateLauncher()
    stage = Stage(launcher)
    stage.deaf_to.add(Notice.STOPPING)
    async with alive(stage) as instance:
        started = start(instance)
        await launcher.waiting.wait()

        assert (await stop(instance)).verdict is Verdict.FAILED
        assert await started == OVERRIDDEN
        assert launcher.living(0) == 0
        launcher.gate.set()
        assert await start(instance) == DONE
        assert stage.heard() == ["stopping", "failed", "starting", "ready"]
