"""The results of starts, stops, restarts and removals in a fleet."""

import asyncio
from dataclasses import replace

from comfysup.model.spec import Policy
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import LifecycleEvent, WaitFor
from comfysup.supervision.results import Outcome, Result
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.fakes import (
    DefectiveLauncher,
    FakeLauncher,
    FakeProber,
    LitteringProcess,
    NeverReadyProbe,
    StubbornProcess,
    UnkillableProcess,
    spec_of,
)
from tests.unit.supervision.fleets import MAIN, OTHER, PATIENCE, refused, start, started
from tests.unit.supervision.stage import Stage, fleet_on

QUICK = StopEscalation(terminate=0.001, kill=0.002, give_up=PATIENCE)


# ---- starting


async def test_a_start_of_a_running_instance_with_the_same_spec_succeeds_at_once() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        first = await started(fleet, MAIN)

        assert await started(fleet, MAIN) is first
        assert len(launcher.processes) == 1


async def test_a_running_instance_accepts_another_name_description_or_policy() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        renamed = replace(MAIN, name="first", description="d", policy=Policy(stop_grace=1))
        await started(fleet, renamed)

        assert main.spec == renamed
        assert fleet.find("first") is main
        assert len(launcher.processes) == 1


async def test_the_result_of_a_failed_start_contains_the_exit() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher, FakeProber(NeverReadyProbe))) as fleet:
        waiting = asyncio.create_task(start(fleet, MAIN))
        await fleet.start(MAIN, WaitFor.SPAWN, PATIENCE)
        launcher.process.end(3)
        result = await waiting

        assert (result.outcome, result.message) == (Outcome.FAILED, "exited with code 3")
        assert result.exit is not None
        assert result.exit.exit_code == 3


async def test_a_wait_that_times_out_reports_the_phase_and_changes_nothing() -> None:
    stage = Stage(prober=FakeProber(NeverReadyProbe))
    async with fleet_on(stage) as fleet:
        await fleet.start(MAIN, WaitFor.SPAWN, PATIENCE)
        result = await fleet.start(MAIN, WaitFor.READY, 0.001)

        assert result == Result(Outcome.TIMEOUT, fleet.find("0"), "still starting after 0.001 s")
        assert fleet.find("0").life.phase is Phase.STARTING


async def test_a_start_with_a_timeout_of_0_starts_the_instance() -> None:
    stage = Stage()
    async with fleet_on(stage) as fleet:
        result = await fleet.start(MAIN, WaitFor.READY, 0)
        await stage.until(lambda: fleet.find("0").life.phase is Phase.RUNNING)

        assert result.outcome is Outcome.TIMEOUT


# ---- restarting


async def test_a_restart_makes_a_new_process_by_the_same_spec() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        result = await fleet.restart(main, WaitFor.READY, PATIENCE)

        assert result == Result(Outcome.DONE, main)
        assert launcher.launches == [(MAIN, 1), (MAIN, 2)]


async def test_a_restart_of_a_stopped_instance_is_a_start() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main)

        assert (await fleet.restart(main, WaitFor.READY, PATIENCE)).outcome is Outcome.DONE
        assert main.life.phase is Phase.RUNNING


async def test_a_stop_in_the_turn_after_a_start_overrides_it() -> None:
    """Regardless of the checks of the start, the last request decides the state."""
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main)

        starting, stopping = await asyncio.gather(
            start(fleet, MAIN), fleet.stop(main, patience=PATIENCE)
        )

        assert starting == Result(Outcome.FAILED, main, "stopped while starting")
        assert stopping.outcome is Outcome.DONE
        assert main.life.phase is Phase.STOPPED


async def test_a_restart_that_cannot_succeed_is_refused_and_the_process_keeps_running() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        launcher.broken_environments.add("comm")
        result = await fleet.restart(main, WaitFor.READY, PATIENCE)

        assert result == Result(
            Outcome.REFUSED, main, "no environment 'comm'", "unknown_environment"
        )
        assert launcher.process.alive


# ---- stopping


async def test_stop_all_stops_concurrently_with_a_result_for_each_instance() -> None:
    launcher = FakeLauncher(StubbornProcess)
    async with fleet_on(Stage(launcher)) as fleet:
        for number in range(8):
            await started(fleet, spec_of(number))
        results = await fleet.stop_all(QUICK)

        assert [result.outcome for result in results] == [Outcome.DONE] * 8
        assert {instance.life.phase for instance in fleet} == {Phase.STOPPED}
        assert not any(process.alive for process in launcher.processes)


async def test_an_instance_keeps_a_grace_period_shorter_than_that_of_stop_all() -> None:
    launcher = FakeLauncher(StubbornProcess)
    async with fleet_on(Stage(launcher)) as fleet:
        await started(fleet, replace(MAIN, policy=Policy(stop_grace=0.001)))
        results = await fleet.stop_all(StopEscalation.of(1000))

        assert [result.outcome for result in results] == [Outcome.DONE]


async def test_a_stop_continues_after_the_timeout_of_its_caller() -> None:
    launcher = FakeLauncher(LitteringProcess)
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        result = await fleet.stop(main, patience=0.001)
        process = launcher.process
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        await stage.until(lambda: main.life.phase is Phase.STOPPED)

        assert (result.outcome, result.message) == (
            Outcome.TIMEOUT,
            "still stopping after 0.001 s",
        )


# ---- forgetting


async def test_a_removal_ends_the_instance_and_frees_its_name_and_port() -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        result = await fleet.remove(main)
        assert result.outcome is Outcome.DONE
        assert stage.notices[-1] == (0, LifecycleEvent.REMOVED)
        assert launcher.living(0) == 0

        await started(fleet, replace(OTHER, name="main", port=MAIN.port))
        assert [instance.spec.id for instance in fleet] == [1]


async def test_a_removed_instance_can_be_started_again() -> None:
    async with fleet_on(Stage()) as fleet:
        old = await started(fleet, MAIN)
        await fleet.remove(old)
        new = await started(fleet, MAIN)

        assert new is not old
        assert new.life.generation == 1


async def test_an_instance_that_cannot_be_ended_is_not_removed() -> None:
    async with fleet_on(Stage(FakeLauncher(UnkillableProcess))) as fleet:
        main = await started(fleet, replace(MAIN, policy=Policy(stop_grace=0)))
        await fleet.stop(main, escalation=StopEscalation(0, 0, 0))

        assert (await fleet.remove(main)).outcome is Outcome.FAILED
        assert fleet.find("0") is main


async def test_an_instance_started_during_its_removal_stays_in_the_fleet() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        removed, again = await asyncio.gather(fleet.remove(main), start(fleet, MAIN))

        assert (removed.outcome, removed.message) == (
            Outcome.FAILED,
            "instance 0 'main' was started again while it was removed",
        )
        assert again.outcome is Outcome.DONE
        assert fleet.find("0") is main


async def test_an_instance_started_and_stopped_during_its_removal_stays_in_the_fleet() -> None:
    launcher = FakeLauncher(LitteringProcess)
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        [process] = launcher.processes
        removing = asyncio.create_task(fleet.remove(main))
        await stage.until(lambda: main.removing)
        again = asyncio.create_task(start(fleet, MAIN))
        await stage.until(lambda: not main.removing)
        stopping = asyncio.create_task(fleet.stop(main))
        await asyncio.sleep(0)
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        removed = await removing

        assert (removed.outcome, removed.message) == (
            Outcome.FAILED,
            "instance 0 'main' was started again while it was removed",
        )
        assert (await stopping).outcome is Outcome.DONE
        assert (await again).outcome is Outcome.FAILED
        assert list(fleet) == [main]
        assert "removed" not in stage.heard()


async def test_two_callers_that_remove_an_instance_both_get_done() -> None:
    stage = Stage()
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        results = await asyncio.gather(fleet.remove(main), fleet.remove(main))

        assert [result.outcome for result in results] == [Outcome.DONE, Outcome.DONE]
        assert stage.heard().count("removed") == 1


async def test_a_stop_concurrent_with_a_removal_is_answered() -> None:
    stage = Stage()
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        removing = asyncio.create_task(fleet.remove(main))
        await stage.until(lambda: main.life.phase is Phase.STOPPED)

        assert (await fleet.stop(main)).outcome is Outcome.DONE
        assert (await removing).outcome is Outcome.DONE
        assert list(fleet) == []


async def test_a_stop_of_an_instance_removed_during_the_call_is_answered() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        await fleet.remove(main)

        assert (await fleet.stop(main)).outcome is Outcome.DONE
        assert (await fleet.remove(main)).outcome is Outcome.DONE


async def test_removing_the_old_leaves_the_new_instance_of_that_id_alone() -> None:
    async with fleet_on(Stage()) as fleet:
        old = await started(fleet, MAIN)
        await fleet.remove(old)
        new = await started(fleet, MAIN)
        await fleet.remove(old)

        assert fleet.find("0") is new
        assert new.life.phase is Phase.RUNNING


# ---- the end of the daemon


async def test_a_closed_fleet_starts_and_restarts_nothing_but_still_stops() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        fleet.close()
        message = "cannot start instance {}: comfysup is shutting down"

        assert await start(fleet, OTHER) == refused("shutting_down", message.format("1 'other'"))
        assert await fleet.restart(main, WaitFor.READY, PATIENCE) == Result(
            Outcome.REFUSED, main, message.format("0 'main'"), "shutting_down"
        )
        assert (await fleet.stop(main)).outcome is Outcome.DONE


async def test_a_released_fleet_leaves_its_processes_running() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        await started(fleet, MAIN)

    assert launcher.process.alive
    assert launcher.process.signals == []


# ---- defects


async def test_the_defect_of_one_instance_leaves_the_others_untouched() -> None:
    launcher = DefectiveLauncher(1)
    async with fleet_on(Stage(launcher)) as fleet:
        results = await asyncio.gather(*(start(fleet, spec_of(n)) for n in range(3)))
        phases = [instance.life.phase for instance in fleet]

        assert [result.outcome for result in results] == ["done", "failed", "done"]
        assert phases == [Phase.RUNNING, Phase.FAILED, Phase.RUNNING]
        launcher.victims.clear()
        assert (await start(fleet, spec_of(1))).outcome is Outcome.DONE
        assert launcher.overlaps == []
