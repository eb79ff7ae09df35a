"""Amending the specs of instances in the table."""

from dataclasses import replace

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.results import Outcome
from tests.unit.supervision.fakes import spec_of
from tests.unit.supervision.stage import Stage, fleet_on

A, B, C = (spec_of(number, name=name) for number, name in enumerate("abc"))


async def started(fleet: Fleet, *specs: InstanceSpec) -> None:
    for spec in specs:
        result = await fleet.start(spec, WaitFor.READY, 30)
        assert result.outcome is Outcome.DONE, result.message


def names(fleet: Fleet) -> list[str]:
    return [instance.spec.name for instance in fleet]


async def test_names_go_round_in_one_step() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, A, B, C)

        refused = fleet.amend(
            [replace(A, name="b"), replace(B, name="c"), replace(C, name="a")],
        )

        assert refused == {}
        assert names(fleet) == ["b", "c", "a"]


async def test_an_instance_refused_a_name_keeps_its_own() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, A, B, C)

        refused = fleet.amend([replace(A, name="c"), replace(B, name="a")])

        assert {number: error.code for number, error in refused.items()} == {
            0: "name_taken",
            1: "name_taken",
        }
        assert str(refused[0]) == "cannot rename instance 0 'c': the name belongs to instance 2"
        assert names(fleet) == ["a", "b", "c"]


async def test_amending_the_command_of_a_running_instance_is_refused() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, A)

        refused = fleet.amend([replace(A, port=4000)])

        assert refused[0].code == "spec_conflict"
        assert str(refused[0]) == (
            "cannot change instance 0 'a': it runs with another port; stop it first"
        )
        assert fleet.find("0").spec == A


async def test_a_stopped_instance_accepts_any_spec() -> None:
    async with fleet_on(Stage()) as fleet:
        await started(fleet, A)
        await fleet.stop(fleet.find("0"))

        assert fleet.amend([replace(A, port=4000, name="x")]) == {}
        assert fleet.find("x").spec.port == 4000
