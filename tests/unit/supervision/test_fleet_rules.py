"""Which ids and specs a fleet accepts, with the exact texts of refusals."""

import asyncio
from dataclasses import replace

import pytest

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome
from tests.unit.supervision.fakes import (
    FakeLauncher,
    SlowLauncher,
    spec_of,
)
from tests.unit.supervision.fleets import MAIN, OTHER, refused, start, started
from tests.unit.supervision.stage import Stage, fleet_on


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


async def test_the_table_is_sorted_by_id() -> None:
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


async def test_a_start_with_another_spec_right_after_a_stop_uses_the_new_spec() -> None:
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
