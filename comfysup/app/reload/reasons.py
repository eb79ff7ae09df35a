"""The reasons for the steps of a reload, as text for people."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from comfysup.app.reload.plan import Applied, Plan, PlanStep, Seen
from comfysup.config.instances_file import InstancesFile
from comfysup.model.instances_file import Planned
from comfysup.model.spec import InstanceSpec

ACTIONS: Final = {
    PlanStep.START: "start",
    PlanStep.RESTART: "restart",
    PlanStep.UPDATE: "update",
    PlanStep.STOP: "stop",
    PlanStep.LEAVE: "leave_alone",
}
"""The published name of each step."""


def explained(
    plan: Plan, table: Mapping[int, Seen], applied: Applied, file: InstancesFile
) -> tuple[Planned, ...]:
    """Return the steps of a plan with their reasons, by id."""
    wanted = {spec.id: spec for spec in file.specs}
    named = {entry.spec.id for entry in file.entries}
    return tuple(
        Planned(
            spec,
            ACTIONS[step],
            _Case(
                table.get(number),
                applied.get(number),
                wanted.get(number),
                named=number in named,
                kept=number in plan.applied,
            ).reason(step, spec),
        )
        for number, (step, spec) in sorted(plan.steps.items())
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One instance: in the table, in the applied entries, and in the file as it is.

    `named` means that the file has a valid entry for it, enabled or not. `kept` means that its
    applied entry is kept.
    """

    seen: Seen | None
    before: InstanceSpec | None
    wanted: InstanceSpec | None
    named: bool
    kept: bool

    def reason(self, step: PlanStep, spec: InstanceSpec) -> str:
        match step:
            case PlanStep.START:
                stopped = "" if self.seen is None else "; it does not run"
                return f"{self._news(self.before, spec)}{stopped}"
            case PlanStep.RESTART:
                if self.before is None and self.seen is not None:
                    changed = differences(self.seen.spec, spec)
                    return f"a caller started it with other settings than instances.json: {changed}"
                return self._news(self.seen.spec if self.seen else self.before, spec)
            case PlanStep.UPDATE:
                return f"{self._update(spec)}; no restart needed"
            case PlanStep.STOP:
                return "disabled in instances.json" if self.named else "no longer in instances.json"
            case PlanStep.LEAVE:
                return self._rest() if self.wanted is None else self._unchanged(self.wanted)

    def _news(self, old: InstanceSpec | None, new: InstanceSpec) -> str:
        if self.before is None or old is None:
            return "new in instances.json"
        return f"its entry has changed: {differences(old, new)}"

    def _update(self, new: InstanceSpec) -> str:
        """Return the reason for an update: the entry differs from the present spec."""
        if self.before is None or self.seen is None:
            return "new in instances.json"
        return f"its entry differs: {differences(self.seen.spec, new)}"

    def _rest(self) -> str:
        """Return why an instance without a valid and enabled entry is left alone."""
        if self.before is not None and self.kept:
            return "its entry may be one of the invalid ones"
        if self.before is not None:
            return "a caller started it with settings of its own"
        if self.named:
            return "a caller started it; its entry is disabled"
        return "a caller started it; instances.json does not name it"

    def _unchanged(self, wanted: InstanceSpec) -> str:
        """Return why nothing is done for an enabled entry."""
        if self.seen is None:
            return "a caller removed it; its entry asks for no new start"
        if self.before is None:
            return "a caller started it with the settings of instances.json"
        if not self.seen.kept:
            return "its entry is unchanged; a caller stopped it, or it failed"
        if self.seen.spec.essence != wanted.essence:
            return "its entry is unchanged; a caller started it with other settings"
        return "unchanged" if self.before == wanted else "it runs with the changed settings already"


def differences(old: InstanceSpec, new: InstanceSpec) -> str:
    """Return the differences between two specs; variables are named without their values."""
    return ", ".join(_differences(old, new)) or "nothing"


def _differences(old: InstanceSpec, new: InstanceSpec) -> Iterator[str]:
    for field in ("environment", "port", "gpu", "name"):
        if (before := getattr(old, field)) != (after := getattr(new, field)):
            yield f"{field} {_shown(before)} → {_shown(after)}"
    if old.extra_args != new.extra_args:
        before, after = (_shown(shlex.join(each.extra_args)) for each in (old, new))
        yield f"extra_args {before} → {after}"
    variables = set(old.env) ^ set(new.env)
    if names := sorted({name for name, _ in variables}):
        yield f"env ({', '.join(names)})"
    if old.description != new.description:
        yield "description"
    policy = asdict(new.policy)
    for name, value in asdict(old.policy).items():
        if value != policy[name]:
            yield f"{name} {_shown(value)} → {_shown(policy[name])}"


def _shown(value: object) -> str:
    match value:
        case None | "":
            return "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
