"""What a reload will do: decided from the table, from what was taken on before, and from the file.

What the file says is compared with what it said when it was last taken on, not with the table
alone. So an entry that nobody has edited asks for nothing new, and whatever callers have done to
its instance stands: one that they stopped stays stopped, one that they started differently too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from comfysup.config.instances_file import InstancesFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.admission import name_taken, port_taken
from comfysup.supervision.protocols import RefusedError

Applied: TypeAlias = Mapping[int, InstanceSpec]
"""The entries of the file that were taken on, as they stood there, by id."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance of the table; `kept` when it is meant to run and was not given up."""

    spec: InstanceSpec
    kept: bool


class PlanStep(Enum):
    """What is done about one instance."""

    START = auto()
    """It gets the spec, and a process."""
    RESTART = auto()
    """It gets the spec, and a new process for the one that it has."""
    UPDATE = auto()
    """It gets the spec, which its process need not know of."""
    STOP = auto()
    """It is stopped and forgotten."""
    LEAVE = auto()
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with whom, by id; `applied` is what holds when all of it went well."""

    steps: Mapping[int, tuple[PlanStep, InstanceSpec]]
    applied: Applied

    def of(self, *steps: PlanStep) -> tuple[InstanceSpec, ...]:
        """Return the instances that one of these steps is planned for, with the specs they get."""
        return tuple(spec for step, spec in self.steps.values() if step in steps)


def make_plan(table: Mapping[int, Seen], applied: Applied, file: InstancesFile) -> Plan:
    """Decide what a legible file asks for.

    What the file had and no longer has, or now disables, is stopped, unless a mistake in the file
    may be the reason. What callers started and the file does not name is left alone.
    """
    wanted = {spec.id: spec for spec in file.specs}
    unsure = _doubt(file)
    steps: dict[int, tuple[PlanStep, InstanceSpec]] = {}
    for number in sorted({*table, *applied, *wanted}):
        seen, before = table.get(number), applied.get(number)
        if number in wanted:
            steps[number] = _follow(wanted[number], before, seen)
        elif seen is not None:
            steps[number] = (_let_go(seen, before, in_doubt=unsure(number)), seen.spec)
    kept = {number: spec for number, spec in applied.items() if unsure(number)}
    return Plan(steps, {**kept, **wanted})


def _doubt(file: InstancesFile) -> Callable[[int], bool]:
    """Return whether the file might still ask for an instance, were it not for its mistakes."""
    named = {entry.spec.id for entry in file.entries}
    return lambda number: number not in named and not file.mistaken.isdisjoint((number, None))


def _follow(
    wanted: InstanceSpec, before: InstanceSpec | None, seen: Seen | None
) -> tuple[PlanStep, InstanceSpec]:
    """Decide about an enabled entry."""
    asks_anew = before is None or before.essence != wanted.essence
    if seen is None:
        return (PlanStep.START if asks_anew else PlanStep.LEAVE), wanted
    if asks_anew and not seen.kept:
        return PlanStep.START, wanted
    if asks_anew and seen.spec.essence != wanted.essence:
        return PlanStep.RESTART, wanted
    if before == wanted:
        return PlanStep.LEAVE, seen.spec
    updated = replace(
        seen.spec, name=wanted.name, description=wanted.description, policy=wanted.policy
    )
    return (PlanStep.LEAVE if updated == seen.spec else PlanStep.UPDATE), updated


def _let_go(seen: Seen, before: InstanceSpec | None, *, in_doubt: bool) -> PlanStep:
    """Decide about an instance that no good and enabled entry names."""
    from_the_file = before is not None and before.essence == seen.spec.essence
    return PlanStep.STOP if from_the_file and not in_doubt else PlanStep.LEAVE


def notes(plan: Plan, file: InstancesFile, first: InstancesFile) -> Iterator[str]:
    """Say what waits for mistakes to be mended, or for a restart of the daemon.

    `first` is the file as it was when the daemon began.
    """
    named = {entry.spec.id for entry in file.entries}
    for spec in plan.of(PlanStep.LEAVE):
        if spec.id in plan.applied and spec.id not in named:
            yield f"instance {spec.label} is left unchanged until the errors are corrected"
    if any(mistake.place.startswith("global_settings") for mistake in file.mistakes):
        return
    for name in ("log_directory", "pid_directory"):
        if getattr(file, name) != getattr(first, name):
            yield f"global_settings.{name} has changed: it takes effect when the daemon restarts"


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
