"""Applies instances.json to the table: entry by entry at the start, later by reloads."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import structlog

from comfysup.app.reload.plan import Held, Plan, PlanStep, Seen, clashes, make_plan, notes
from comfysup.app.reload.reasons import explained
from comfysup.config.instances_file import InstancesFile
from comfysup.config.settings import Settings
from comfysup.model.instances_file import ConfigError, Failure, Planned, ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.caller_requests import STOPPED_WHILE_STARTING
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import StopAsked, WaitFor
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome as Ended
from comfysup.supervision.results import Result
from comfysup.supervision.tasks import end_tasks
from comfysup.supervision.uniqueness import ports_of

log = structlog.get_logger()

SPAWN_PATIENCE = 60.0
"""Seconds after which an instance without a process counts as started."""


class Checks(Protocol):
    """Checks a start before it is attempted; raises `RefusedError`."""

    async def check(self, spec: InstanceSpec, *, port: bool) -> None: ...


class Reloader:
    """Keeps the applied entries of the file, and applies changed ones.

    `first` is the file as it was when the daemon started. `applied` is the only state that must
    survive the daemon: the entries of the file by id, as plain values.
    """

    def __init__(
        self,
        fleet: Fleet,
        checks: Checks,
        settings: Settings,
        first: InstancesFile,
        announce: Callable[[ReloadOutcome], None],
        read: Callable[[], Awaitable[InstancesFile]],
        keep: Callable[[], None],
    ) -> None:
        """Start without applied entries; `announce` receives the outcome of every reload.

        `read` reads the file within seconds, even if its disk does not answer. `keep` persists
        `applied`.
        """
        self.applied: dict[int, InstanceSpec] = {}
        self._fleet = fleet
        self._checks = checks
        self._settings = settings
        self._first = first
        self._announce = announce
        self._read = read
        self._keep = keep
        self._admitted: dict[int, InstanceSpec] = {}
        self._starting: dict[int, InstanceSpec] = {}
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._overtaken = False

    async def start(self, spec: InstanceSpec) -> Failure | None:
        """Apply one entry of the first file; does nothing after a reload.

        An entry that a caller has stopped by then, alone or with all others, is not started.
        Returns the failure, or None.
        """
        async with self._turn:
            if self._overtaken:
                return None
            if self._fleet.stops(spec.id):
                log.info("autolaunch.called_off", instance=spec.id)
                self.take_on(spec)
                return None
            failure = (await self._start([spec])).get(spec.id)
            if not (failure and failure.refused):
                self.applied[spec.id] = spec
            return failure

    def take_on(self, spec: InstanceSpec) -> None:
        """Mark an entry as applied, and persist that."""
        self.applied[spec.id] = spec
        self._keep()

    def admitted(self, spec: InstanceSpec) -> None:
        """Record a start. An entry is applied if a caller starts exactly what the file requests.

        The present file decides, so it is read at once, without waiting for it. Starts of this
        reloader are applied here rather than at their end. If the daemon died in between, the
        instance would otherwise appear to be a caller's.
        """
        if self._starting.get(spec.id) == spec:
            self.applied[spec.id] = spec
        if self._is_applied(spec):
            return
        self._admitted[spec.id] = spec
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._take_on(), name="instances.json")

    async def close(self) -> None:
        """Stop reading the file."""
        if self._reading:
            await end_tasks([self._reading])

    async def _take_on(self) -> None:
        """Apply the entries that callers have started; a running reload comes first."""
        async with self._turn:  # to the end: a later reload must know all of them
            while self._admitted:
                started = [spec for spec in self._admitted.values() if not self._is_applied(spec)]
                self._admitted.clear()
                if not started:
                    continue
                wanted = {spec.id: spec.essence for spec in (await self._read()).specs}
                taken = {spec.id: spec for spec in started if wanted.get(spec.id) == spec.essence}
                if taken:
                    self.applied |= taken
                    self._keep()

    def _is_applied(self, spec: InstanceSpec) -> bool:
        before = self.applied.get(spec.id)
        return before is not None and before.essence == spec.essence

    async def reload(self) -> ReloadOutcome:
        """Read the file and apply it, after any running reload.

        A file that is not legible changes nothing. Returns once the stopped processes have exited
        and the started instances have a process.
        """
        async with self._turn:
            file = await self._read()
            for mistake in file.mistakes:
                log.error("instances_file.mistaken", mistake=mistake.summary)
            if not file.legible:
                return ReloadOutcome(legible=False, mistakes=file.mistakes or (self._missing(),))
            self._overtaken = True
            outcome = await self._follow(file)
        self._keep()
        _log(outcome)
        self._announce(outcome)
        return outcome

    async def plan(self) -> ReloadOutcome:
        """Return what a reload would do, after any running reload; changes nothing.

        `failed` holds the starts that would be refused, as far as checks can tell.
        """
        async with self._turn:
            file = await self._read()
            if not file.legible:
                mistakes = file.mistakes or (self._missing(),)
                return ReloadOutcome(legible=False, dry_run=True, mistakes=mistakes)
            seen, applied = self._seen(), self.applied
            plan = make_plan(seen, applied, file)
            failed = await self._unable(plan, PlanStep.START, PlanStep.RESTART)
        return self._outcome(file, plan, explained(plan, seen, applied, file), failed, dry_run=True)

    async def _follow(self, file: InstancesFile) -> ReloadOutcome:
        seen = self._seen()
        plan = make_plan(seen, self.applied, file)
        reasons = explained(plan, seen, self.applied, file)
        failed = await self._carry_out(plan)
        refused = {number for number, failure in failed.items() if failure.refused}
        before = {number: self.applied[number] for number in refused & self.applied.keys()}
        taken_on = {number: spec for number, spec in plan.applied.items() if number not in refused}
        self.applied = {**taken_on, **before}
        return self._outcome(file, plan, reasons, failed)

    def _outcome(
        self,
        file: InstancesFile,
        plan: Plan,
        reasons: tuple[Planned, ...],
        failed: Mapping[int, Failure],
        *,
        dry_run: bool = False,
    ) -> ReloadOutcome:
        def done(step: PlanStep) -> tuple[InstanceSpec, ...]:
            return tuple(spec for spec in plan.of(step) if spec.id not in failed)

        return ReloadOutcome(
            legible=True,
            dry_run=dry_run,
            plan=reasons,
            started=done(PlanStep.START),
            stopped=done(PlanStep.STOP),
            restarted=done(PlanStep.RESTART),
            updated=done(PlanStep.UPDATE),
            left_alone=done(PlanStep.LEAVE),
            failed=tuple(failed.values()),
            mistakes=file.mistakes,
            unusable=file.unusable,
            warnings=tuple(notes(plan, file, self._first)),
        )

    async def _carry_out(self, plan: Plan) -> dict[int, Failure]:
        """Stop instances before others take their ports or names; return the failures by id."""
        earlier = {number: self._fleet.stops(number) for number in plan.steps}
        failed = await self._unable(plan, PlanStep.RESTART)

        def still(*steps: PlanStep) -> list[InstanceSpec]:
            return [spec for spec in plan.of(*steps) if spec.id not in failed]

        stopped = [spec for spec in still(PlanStep.RESTART) if spec.id in self._table()]
        for spec in stopped:
            earlier[spec.id] += 1  # counts the stop by this reload
        failed |= await self._end(still(PlanStep.STOP), stopped)
        failed |= self._amend(still(PlanStep.UPDATE, PlanStep.RESTART, PlanStep.START))
        wanted = still(PlanStep.RESTART, PlanStep.START)
        called_off = [each for each in wanted if self._fleet.stops(each.id) != earlier[each.id]]
        failed |= {spec.id: _called_off(spec) for spec in called_off}
        failed |= await self._start(still(PlanStep.RESTART, PlanStep.START))
        return failed

    async def _unable(self, plan: Plan, *steps: PlanStep) -> dict[int, Failure]:
        """Return the failures that are known before any instance is stopped.

        The instances with these `steps` are also checked as a start would check them.
        """
        ours = {instance.spec.port for instance in self._fleet}

        async def check(spec: InstanceSpec) -> Failure | None:
            try:
                await self._checks.check(spec, port=spec.port not in ours)
            except RefusedError as error:
                return _refusal(spec, error)
            return None

        found = await asyncio.gather(*map(check, plan.of(*steps)))
        failed = {failure.spec.id: failure for failure in found if failure}
        # Last, and without an await: callers start and stop instances during the checks.
        held = {each.spec.id: Held(each.spec, ports_of(each)) for each in self._fleet}
        clashing = clashes(plan, held, failed.keys())
        return failed | {
            number: _refusal(plan.steps[number][1], error) for number, error in clashing.items()
        }

    async def _end(
        self, removed: Iterable[InstanceSpec], stopped: Iterable[InstanceSpec]
    ) -> dict[int, Failure]:
        """Stop or remove all of them at once; return the failures by id."""
        table = self._table()
        ends = [(spec, self._remove) for spec in removed if spec.id in table]
        ends += [(spec, self._stop) for spec in stopped if spec.id in table]
        results = await asyncio.gather(*(end(table[spec.id]) for spec, end in ends))
        return {
            spec.id: Failure(spec, "stop_failed", result.message)
            for (spec, _), result in zip(ends, results, strict=True)
            if result.outcome is not Ended.DONE
        }

    async def _stop(self, instance: Instance) -> Result:
        return await self._fleet.stop(instance, returning=True)

    async def _remove(self, instance: Instance) -> Result:
        """Remove an instance, and its applied entry first.

        If the daemon dies now, the next daemon completes the removal. A remaining entry would then
        appear to have been removed by a caller.
        """
        number = instance.spec.id
        entry = self.applied.pop(number, None)
        result = await self._fleet.remove(instance)
        if result.outcome is Ended.FAILED and entry is not None:
            self.applied.setdefault(number, entry)
        return result

    def _amend(self, specs: Iterable[InstanceSpec]) -> dict[int, Failure]:
        """Replace the specs of instances in the table; the others get theirs when they start."""
        present = {spec.id: spec for spec in specs if spec.id in self._table()}
        refused = self._fleet.amend(present.values())
        return {number: _refusal(present[number], error) for number, error in refused.items()}

    async def _start(self, specs: Iterable[InstanceSpec]) -> dict[int, Failure]:
        """Start all of them at once; an instance still without a process counts as started."""
        asked = list(specs)
        self._starting = {spec.id: spec for spec in asked}
        try:
            results = await asyncio.gather(
                *(self._fleet.start(spec, WaitFor.SPAWN, SPAWN_PATIENCE) for spec in asked)
            )
        finally:
            self._starting = {}
        return {
            spec.id: _failure(spec, result)
            for spec, result in zip(asked, results, strict=True)
            if result.outcome in (Ended.FAILED, Ended.REFUSED)
        }

    def _table(self) -> dict[int, Instance]:
        return {instance.spec.id: instance for instance in self._fleet}

    def _seen(self) -> dict[int, Seen]:
        return {number: Seen(each.spec, _is_kept(each)) for number, each in self._table().items()}

    def _missing(self) -> ConfigError:
        path = self._settings.instances_file
        missing = "there is no such file; COMFYSUP_INSTANCES_FILE names another"
        return ConfigError("", 0, 0, f"cannot read {path}: {missing}")


def _is_kept(instance: Instance) -> bool:
    """Return whether the last request wants the instance to run, and it has not failed."""
    if instance.asked:
        return not isinstance(instance.asked, StopAsked)
    return instance.life.wanted and instance.life.phase is not Phase.FAILED


def _called_off(spec: InstanceSpec) -> Failure:
    """Return the failure of a start that a later stop has overridden."""
    return Failure(spec, "start_failed", STOPPED_WHILE_STARTING, refused=False)


def _refusal(spec: InstanceSpec, error: RefusedError) -> Failure:
    return Failure(spec, error.code, str(error))


def _failure(spec: InstanceSpec, result: Result) -> Failure:
    if result.outcome is Ended.REFUSED:
        return Failure(spec, result.code, result.message)
    code = result.exit.reason if result.exit else "start_failed"
    return Failure(spec, code, result.message, refused=False)


def _log(outcome: ReloadOutcome) -> None:
    for failure in outcome.failed:
        log.error("reload.failed", instance=failure.spec.id, error=failure.message)
    groups = ("started", "stopped", "restarted", "updated")
    log.info(
        "config.reloaded",
        **{group: [spec.id for spec in getattr(outcome, group)] for group in groups},
        reasons={
            each.spec.id: each.reason for each in outcome.plan if each.action != "leave_alone"
        },
    )
