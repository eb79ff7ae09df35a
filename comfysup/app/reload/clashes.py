"""What a reload cannot give an instance, because an instance that stays as it is has it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from comfysup.app.reload.plan import Plan, PlanStep
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.admission import name_taken, port_taken
from comfysup.supervision.protocols import RefusedError


@dataclass(frozen=True, slots=True)
class Held:
    """What an instance of the table has: its spec, and the ports that nobody else may have."""

    spec: InstanceSpec
    ports: frozenset[int]


def clashes(
    plan: Plan, table: Mapping[int, Held], refused: Collection[int] = ()
) -> dict[int, RefusedError]:
    """Return which specs of a plan cannot be had, by id, before anything of it is carried out.

    Instances that swap names or ports do not clash. `refused` are those that keep what they have
    for another reason; whoever is refused here keeps it too, which can be what the next one wants.
    """
    found: dict[int, RefusedError] = {}
    while more := dict(_clashes(plan, table, {*refused, *found})):
        found |= more
    return found


def _clashes(
    plan: Plan, table: Mapping[int, Held], refused: Collection[int]
) -> Iterator[tuple[int, RefusedError]]:
    steps = {number: step for number, step in plan.steps.items() if number not in refused}
    names: dict[str, InstanceSpec] = {}
    ports: dict[int, InstanceSpec] = {}
    for number, held in table.items():
        step = steps[number][0] if number in steps else PlanStep.LEAVE
        if step is PlanStep.LEAVE:
            names[held.spec.name] = held.spec
        if step in (PlanStep.LEAVE, PlanStep.UPDATE):
            ports |= dict.fromkeys(held.ports, held.spec)
    for number, (step, spec) in steps.items():
        starts = step in (PlanStep.START, PlanStep.RESTART)
        if (starts or step is PlanStep.UPDATE) and (owner := names.get(spec.name)):
            yield number, name_taken(spec, owner, "start" if starts else "rename")
        elif starts and (owner := ports.get(spec.port)):
            yield number, port_taken(spec, f"instance {owner.label}")
