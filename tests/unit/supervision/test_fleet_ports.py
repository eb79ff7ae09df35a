"""Which ports and names a fleet refuses."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from typing_extensions import override

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.results import Outcome
from comfysup.supervision.stop_escalation import StopEscalation
from tests.scenarios.waiting import until
from tests.unit.supervision.fakes import (
    FakeLauncher,
    LitteringProcess,
    SlowLauncher,
    UnkillableProcess,
)
from tests.unit.supervision.fleets import MAIN, OTHER, PATIENCE, refused, start, started
from tests.unit.supervision.stage import Stage, fleet_on


class ReluctantLauncher(SlowLauncher):
    """Cannot be cancelled."""

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        self.waiting.set()
        while not self.gate.is_set():
            with suppress(asyncio.CancelledError):
                await self.gate.wait()


class LookingLauncher(FakeLauncher):
    """Waits for `go_on` in its first check."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = asyncio.Event()
        self.go_on = asyncio.Event()

    @override
    async def look(self, spec: InstanceSpec) -> None:
        if not self.looking.is_set():
            self.looking.set()
            await self.go_on.wait()


# ---- what is refused


async def test_a_name_belongs_to_one_instance() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, MAIN)

        assert await start(fleet, replace(OTHER, name="main")) == refused(
            "name_taken", "cannot start instance 1 'main': the name belongs to instance 0"
        )


async def test_the_port_of_the_daemon_is_refused() -> None:
    async with fleet_on(Stage()) as fleet:
        assert await start(fleet, replace(MAIN, port=8001)) == refused(
            "port_taken", "cannot start instance 0 'main': port 8001 belongs to comfysup itself"
        )
        assert list(fleet) == []


async def test_the_port_of_a_running_instance_is_refused() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, MAIN)

        assert await start(fleet, replace(OTHER, port=MAIN.port)) == refused(
            "port_taken", "cannot start instance 1 'other': port 3001 belongs to instance 0 'main'"
        )


async def test_of_two_instances_started_concurrently_on_one_port_the_first_starts() -> None:
    async with fleet_on(Stage()) as fleet:
        first, second = await asyncio.gather(
            start(fleet, MAIN), start(fleet, replace(OTHER, port=MAIN.port))
        )

        assert (first.outcome, second.code) == (Outcome.DONE, "port_taken")


async def test_the_port_of_an_instance_that_backs_off_is_refused() -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, replace(MAIN, policy=Policy(backoff_initial=1000)))
        launcher.process.end(1)
        await stage.until(lambda: main.life.phase is Phase.BACKOFF)

        assert (await start(fleet, replace(OTHER, port=MAIN.port))).code == "port_taken"


async def test_the_port_of_a_stuck_instance_stays_taken() -> None:
    launcher = FakeLauncher(UnkillableProcess)
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        result = await fleet.stop(main, escalation=StopEscalation(0, 0, 0))

        assert (result.outcome, result.message) == (
            Outcome.FAILED,
            "SIGKILL did not end it: pid 4242",
        )
        assert (await start(fleet, replace(OTHER, port=MAIN.port))).code == "port_taken"


async def test_a_port_is_taken_until_its_process_has_ended() -> None:
    launcher = FakeLauncher(UnkillableProcess)
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main, escalation=StopEscalation(0, 0, 0))
        moved = await start(fleet, replace(MAIN, port=4000))
        other = await start(fleet, replace(OTHER, port=MAIN.port))

        assert (moved.outcome, moved.message) == (
            Outcome.FAILED,
            "SIGKILL did not end it: pid 4242",
        )
        assert other.code == "port_taken"
        assert (await start(fleet, replace(OTHER, port=4000))).code == "port_taken"


async def test_the_port_of_a_stopped_instance_can_be_taken_by_another() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main)
        await started(fleet, replace(OTHER, port=MAIN.port))

        assert (await fleet.start_again(main, WaitFor.READY, PATIENCE)).message == (
            "cannot start instance 0 'main': port 3001 belongs to instance 1 'other'"
        )


async def test_a_stopping_instance_may_start_on_its_own_port_but_not_on_a_foreign_one() -> None:
    launcher = FakeLauncher(LitteringProcess)
    launcher.strangers[4000] = "nginx (pid 12)"
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, MAIN)
        launcher.strangers[MAIN.port] = "itself"
        stopped = asyncio.create_task(fleet.stop(main))
        await stage.until(lambda: main.life.phase is Phase.STOPPING)
        moved = await start(fleet, replace(MAIN, port=4000))
        again = asyncio.create_task(start(fleet, MAIN))
        await stage.until(lambda: main.life.wanted)
        process = launcher.process
        assert isinstance(process, LitteringProcess)
        process.tidied.set()

        assert moved == refused("port_taken", "port 4000 belongs to nginx (pid 12)")
        assert (await stopped).outcome is Outcome.DONE
        assert (await again).outcome is Outcome.DONE


async def test_a_process_being_spawned_owns_its_port() -> None:
    launcher = ReluctantLauncher()
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        first = asyncio.create_task(start(fleet, MAIN))
        await launcher.waiting.wait()
        main = fleet.find("main")
        stopped = asyncio.create_task(fleet.stop(main))
        await stage.until(lambda: main.life.phase is Phase.STOPPING)
        launcher.strangers[MAIN.port] = "itself"
        again = asyncio.create_task(fleet.restart(main, WaitFor.READY, PATIENCE))
        await until(lambda: again.done() or main.life.wanted)
        launcher.gate.set()

        assert (await again).outcome is Outcome.DONE
        assert [(await each).outcome for each in (first, stopped)] == [
            Outcome.FAILED,
            Outcome.DONE,
        ]


async def test_an_instance_that_another_caller_starts_during_a_check_owns_its_port() -> None:
    launcher = LookingLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        first = asyncio.create_task(start(fleet, MAIN))
        await launcher.looking.wait()
        await started(fleet, MAIN)
        launcher.strangers[MAIN.port] = "itself"
        launcher.go_on.set()

        assert (await first).outcome is Outcome.DONE


async def test_a_running_instance_needs_neither_a_free_port_nor_its_environment() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        await started(fleet, MAIN)
        launcher.broken_environments.add("comm")
        launcher.strangers[MAIN.port] = "itself"

        assert (await start(fleet, MAIN)).outcome is Outcome.DONE
