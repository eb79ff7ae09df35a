"""Who may have which id, name, port and spec, with the exact words of each refusal."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from typing_extensions import override

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome, Result
from comfysup.supervision.stop_escalation import StopEscalation
from tests.scenarios.waiting import until
from tests.unit.supervision.fakes import (
    FakeLauncher,
    LitteringProcess,
    SlowLauncher,
    UnkillableProcess,
    spec_of,
)
from tests.unit.supervision.stage import Stage, fleet_on


class ReluctantLauncher(SlowLauncher):
    """Cannot be called off."""

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        self.waiting.set()
        while not self.gate.is_set():
            with suppress(asyncio.CancelledError):
                await self.gate.wait()


class LookingLauncher(FakeLauncher):
    """Takes until `go_on` for its first look."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = asyncio.Event()
        self.go_on = asyncio.Event()

    @override
    async def look(self, spec: InstanceSpec) -> None:
        if not self.looking.is_set():
            self.looking.set()
            await self.go_on.wait()


PATIENCE = 30.0
QUICK = StopEscalation(terminate=0.001, kill=0.002, give_up=PATIENCE)
MAIN = replace(spec_of(0), name="main")
OTHER = replace(spec_of(1), name="other")


async def start(fleet: Fleet, spec: InstanceSpec) -> Result:
    return await fleet.start(spec, WaitFor.READY, PATIENCE)


async def started(fleet: Fleet, spec: InstanceSpec) -> Instance:
    """Start it, and return the instance that this made."""
    result = await start(fleet, spec)
    assert result.outcome is Outcome.DONE, result.message
    assert result.instance is not None
    return result.instance


def refused(code: str, message: str) -> Result:
    return Result(Outcome.REFUSED, None, message, code)


# ---- the table


async def test_an_instance_is_found_by_its_id_and_by_its_name() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)

        assert fleet.find("0") is main
        assert fleet.find("main") is main


async def test_an_unknown_ref_is_refused_with_all_known_ones() -> None:
    async with fleet_on(Stage()) as fleet:
        with pytest.raises(RefusedError) as empty:
            fleet.find("main")
        await started(fleet, OTHER)
        await started(fleet, MAIN)
        with pytest.raises(RefusedError) as unknown:
            fleet.find("2")

        assert str(empty.value) == "no instance 'main'; there are: none"
        assert str(unknown.value) == "no instance '2'; there are: 0 'main', 1 'other'"
        assert unknown.value.code == "unknown_instance"


async def test_the_table_goes_by_id() -> None:
    async with fleet_on(Stage()) as fleet:
        for number in (2, 0, 1):
            await started(fleet, spec_of(number))

        assert [instance.spec.id for instance in fleet] == [0, 1, 2]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(MAIN, port=4000), "port"),
        (replace(MAIN, environment="dev"), "environment"),
        (replace(MAIN, extra_args=("--lowvram",), gpu="0"), "extra_args, gpu"),
        (replace(MAIN, env=(("A", "b"),)), "env"),
    ],
)
async def test_another_spec_for_a_running_instance_is_a_conflict_and_leaves_it_alone(
    other: InstanceSpec, what: str
) -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)

        assert await start(fleet, other) == refused(
            "spec_conflict",
            f"cannot start instance 0 'main': it runs with another {what}; stop it first",
        )
        assert main.spec == MAIN
        assert launcher.process.signals == []


async def test_another_spec_for_a_launching_instance_is_a_conflict() -> None:
    launcher = SlowLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        first = asyncio.create_task(start(fleet, MAIN))
        await launcher.waiting.wait()
        second = await start(fleet, replace(MAIN, port=4000))
        launcher.gate.set()

        assert second.code == "spec_conflict"
        assert (await first).outcome is Outcome.DONE
        assert fleet.find("0").spec == MAIN


async def test_of_two_concurrent_specs_for_one_id_the_second_is_a_conflict() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        first, second = await asyncio.gather(
            start(fleet, MAIN), start(fleet, replace(MAIN, port=4000))
        )

        assert (first.outcome, second.code) == (Outcome.DONE, "spec_conflict")
        assert [spec.port for spec, _ in launcher.launches] == [MAIN.port]


async def test_a_start_with_another_spec_after_a_stop_in_the_same_breath_takes_the_new_one() -> (
    None
):
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        stopped, again = await asyncio.gather(
            fleet.stop(main), start(fleet, replace(MAIN, port=4000))
        )

        assert (stopped.outcome, again.outcome) == (Outcome.DONE, Outcome.DONE)
        assert [spec.port for spec, _ in launcher.launches] == [MAIN.port, 4000]
        assert launcher.overlaps == []


async def test_another_spec_replaces_that_of_a_stopped_instance() -> None:
    launcher = FakeLauncher()
    async with fleet_on(Stage(launcher)) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main)
        await started(fleet, replace(MAIN, port=4000))

        assert launcher.launches[-1] == (replace(MAIN, port=4000), 2)


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


async def test_of_two_instances_started_on_one_port_at_once_the_first_gets_it() -> None:
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


async def test_a_port_stays_taken_while_a_process_has_it_whatever_its_instance_wants_next() -> None:
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


async def test_the_port_of_a_stopped_instance_is_free_and_it_then_may_not_have_it() -> None:
    async with fleet_on(Stage()) as fleet:
        main = await started(fleet, MAIN)
        await fleet.stop(main)
        await started(fleet, replace(OTHER, port=MAIN.port))

        assert (await fleet.start_again(main, WaitFor.READY, PATIENCE)).message == (
            "cannot start instance 0 'main': port 3001 belongs to instance 1 'other'"
        )


async def test_an_instance_that_the_launcher_refuses_does_not_enter_the_table() -> None:
    launcher = FakeLauncher()
    launcher.broken_environments.add("comm")
    launcher.strangers[OTHER.port] = "nginx (pid 12)"
    async with fleet_on(Stage(launcher)) as fleet:
        no_environment = await start(fleet, MAIN)
        taken = await start(fleet, replace(OTHER, environment="dev"))

        assert no_environment == refused("unknown_environment", "no environment 'comm'")
        assert taken == refused("port_taken", "port 3002 belongs to nginx (pid 12)")
        assert list(fleet) == []


@pytest.mark.parametrize("policy", [Policy(backoff_initial=1000), Policy(max_failures=1)])
async def test_another_spec_replaces_that_of_an_instance_in_backoff_or_failed(
    policy: Policy,
) -> None:
    launcher = FakeLauncher()
    stage = Stage(launcher)
    async with fleet_on(stage) as fleet:
        main = await started(fleet, replace(MAIN, policy=policy))
        launcher.process.end(1)
        await stage.until(lambda: main.life.phase in (Phase.BACKOFF, Phase.FAILED))
        await started(fleet, replace(MAIN, port=4000))

        assert [spec.port for spec, _ in launcher.launches] == [MAIN.port, 4000]


async def test_a_stopping_instance_may_start_on_its_own_port_but_on_no_stranger_s() -> None:
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


async def test_a_process_in_the_making_is_no_stranger_on_its_port() -> None:
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
