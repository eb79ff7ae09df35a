"""The plan of a reload: derived from the table, the applied entries and the file.

The file is compared with the entries that were last applied, not with the table alone. So an
unchanged entry requests nothing, and the changes of callers to its instance are kept. An instance
that a caller stopped stays stopped, and so do other settings of a caller.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from comfysup.config.instances_file import InstancesFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.refusals import name_taken, port_taken

Applied: TypeAlias = Mapping[int, InstanceSpec]
"""The applied entries of the file, by id."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance of the table; `kept` if it is meant to run and has not failed."""

    spec: InstanceSpec
    kept: bool


class PlanStep(Enum):
    """The step for one instance."""

    START = auto()
    """The instance gets the spec and a process."""
    RESTART = auto()
    """The instance gets the spec and a new process."""
    UPDATE = auto()
    """The instance gets the spec without a new process."""
    STOP = auto()
    """The instance is stopped and removed."""
    LEAVE = auto()
    """Nothing is done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The step for each instance, by id; `applied` holds the entries once all steps succeeded."""

    steps: Mapping[int, tuple[PlanStep, InstanceSpec]]
    applied: Applied

    def of(self, *steps: PlanStep) -> tuple[InstanceSpec, ...]:
        """Return the specs of the instances for which one of these steps is planned."""
        return tuple(spec for step, spec in self.steps.values() if step in steps)


def make_plan(table: Mapping[int, Seen], applied: Applied, file: InstancesFile) -> Plan:
    """Return the plan for a legible file.

    An applied entry that the file no longer has, or now disables, is stopped, unless an error in
    the file may be the reason. Instances that callers started and the file does not name are left
    alone.
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
    """Return a predicate: whether an invalid entry of the file may be that of an instance."""
    named = {entry.spec.id for entry in file.entries}
    return lambda number: number not in named and not file.mistaken.isdisjoint((number, None))


def _follow(
    wanted: InstanceSpec, before: InstanceSpec | None, seen: Seen | None
) -> tuple[PlanStep, InstanceSpec]:
    """Return the step for an enabled entry, and the spec for it."""
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
    """Return the step for an instance without a valid and enabled entry."""
    from_the_file = before is not None and before.essence == seen.spec.essence
    return PlanStep.STOP if from_the_file and not in_doubt else PlanStep.LEAVE


def notes(plan: Plan, file: InstancesFile, first: InstancesFile) -> Iterator[str]:
    """Yield notes on instances that wait for corrections, and settings that need a restart.

    `first` is the file as it was when the daemon started.
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
    """The spec of an instance in the table, and the ports reserved for it."""

    spec: InstanceSpec
    ports: frozenset[int]


def clashes(
    plan: Plan, table: Mapping[int, Held], refused: Collection[int] = ()
) -> dict[int, RefusedError]:
    """Return the specs of a plan that must be refused, by id, before any step runs.

    Instances that swap names or ports do not clash. `refused` holds the ids that keep their spec
    for another reason. An instance refused here keeps its name and port, which may cause further
    refusals.
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
