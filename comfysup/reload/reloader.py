"""Making the table follow instances.json: at the beginning one by one, later by reloads."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from comfysup.reload.notes import notes
from comfysup.reload.outcome import Failure, Outcome
from comfysup.reload.plan import Plan, Seen, Step, make_plan
from comfysup.settings import InstancesFile, Mistake, Settings, read_instances_file
from comfysup.supervision.events import Asker, StopAsked
from comfysup.supervision.fleet import Fleet, Result
from comfysup.supervision.fleet import Outcome as Ended
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.spec import InstanceSpec

log = structlog.get_logger()

SPAWN_PATIENCE = 60.0
"""Seconds after which one that has no process yet counts as started all the same."""


class Checks(Protocol):
    """What can be known of a start before it is tried; each raises `RefusedError`."""

    def check_environment(self, spec: InstanceSpec) -> None: ...
    def check_port(self, spec: InstanceSpec) -> None: ...


class Reloader:
    """Knows what was taken on from the file, and takes on what it says anew.

    `first` is the file as it was when the daemon began. `applied` is all that this must know to go
    on after a death of the daemon: entries of the file by id, plain values.
    """

    def __init__(
        self,
        fleet: Fleet,
        checks: Checks,
        settings: Settings,
        first: InstancesFile,
        announce: Callable[[Outcome], None],
    ) -> None:
        """Begin with nothing taken on; `announce` hears of every reload that was carried out."""
        self.applied: dict[int, InstanceSpec] = {}
        self._fleet = fleet
        self._checks = checks
        self._settings = settings
        self._first = first
        self._announce = announce
        self._turn = asyncio.Lock()
        self._overtaken = False

    async def start(self, spec: InstanceSpec) -> Failure | None:
        """Take on one entry of the first file; nothing is done once a reload has been."""
        async with self._turn:
            if self._overtaken:
                return None
            failure = (await self._start([spec])).get(spec.id)
            if not (failure and failure.refused):
                self.applied[spec.id] = spec
            return failure

    async def reload(self) -> Outcome:
        """Read the file and follow it, after whatever reload is under way.

        A file that is not legible changes nothing. It returns when what was stopped has ended and
        what was started has a process.
        """
        async with self._turn:
            file = await asyncio.to_thread(
                read_instances_file, self._settings.instances_file, self._settings
            )
            for mistake in file.mistakes:
                log.error("instances_file.mistaken", mistake=mistake.summary)
            if not file.legible:
                return Outcome(legible=False, mistakes=file.mistakes or (self._missing(),))
            self._overtaken = True
            outcome = await self._follow(file)
        _log(outcome)
        self._announce(outcome)
        return outcome

    async def _follow(self, file: InstancesFile) -> Outcome:
        plan = make_plan(self._seen(), self.applied, file)
        failed = await self._carry_out(plan)
        refused = {number for number, failure in failed.items() if failure.refused}
        before = {number: self.applied[number] for number in refused & self.applied.keys()}
        taken_on = {number: spec for number, spec in plan.applied.items() if number not in refused}
        self.applied = {**taken_on, **before}

        def done(step: Step) -> tuple[InstanceSpec, ...]:
            return tuple(spec for spec in plan.of(step) if spec.id not in failed)

        return Outcome(
            legible=True,
            started=done(Step.START),
            stopped=done(Step.STOP),
            restarted=done(Step.RESTART),
            updated=done(Step.UPDATE),
            left_alone=done(Step.LEAVE),
            failed=tuple(failed.values()),
            mistakes=file.mistakes,
            warnings=tuple(notes(plan, file, self._first)),
        )

    async def _carry_out(self, plan: Plan) -> dict[int, Failure]:
        """Stop all that must go before anything new takes its port or name; return what failed."""
        failed = self._unable(plan.of(Step.RESTART))

        def still(*steps: Step) -> list[InstanceSpec]:
            return [spec for spec in plan.of(*steps) if spec.id not in failed]

        failed |= await self._end(still(Step.STOP), still(Step.RESTART))
        failed |= self._amend(still(Step.UPDATE, Step.RESTART, Step.START))
        failed |= await self._start(still(Step.RESTART, Step.START))
        return failed

    def _unable(self, specs: Iterable[InstanceSpec]) -> dict[int, Failure]:
        """Find those that could not be started any more, before they are stopped."""
        ours = {instance.spec.port for instance in self._fleet}
        failed = {}
        for spec in specs:
            try:
                self._checks.check_environment(spec)
                if spec.port not in ours:
                    self._checks.check_port(spec)
            except RefusedError as error:
                failed[spec.id] = Failure(spec, error.code, str(error))
        return failed

    async def _end(
        self, removed: Iterable[InstanceSpec], stopped: Iterable[InstanceSpec]
    ) -> dict[int, Failure]:
        """End all of them at once."""
        table = self._table()
        ends = [(spec, self._fleet.remove) for spec in removed if spec.id in table]
        ends += [(spec, self._fleet.stop) for spec in stopped if spec.id in table]
        results = await asyncio.gather(*(end(table[spec.id]) for spec, end in ends))
        return {
            spec.id: Failure(spec, "stop_failed", result.message)
            for (spec, _), result in zip(ends, results, strict=True)
            if result.outcome is not Ended.DONE
        }

    def _amend(self, specs: Iterable[InstanceSpec]) -> dict[int, Failure]:
        """Give those of the table their specs; the others get theirs when they are started."""
        present = {spec.id: spec for spec in specs if spec.id in self._table()}
        refused = self._fleet.amend(present.values())
        return {
            number: Failure(present[number], error.code, str(error))
            for number, error in refused.items()
        }

    async def _start(self, specs: Iterable[InstanceSpec]) -> dict[int, Failure]:
        """Start all of them at once; one that still waits for its process counts as started."""
        asked = list(specs)
        results = await asyncio.gather(
            *(self._fleet.start(spec, Asker.SPAWN, SPAWN_PATIENCE) for spec in asked)
        )
        return {
            spec.id: _failure(spec, result)
            for spec, result in zip(asked, results, strict=True)
            if result.outcome in (Ended.FAILED, Ended.REFUSED)
        }

    def _table(self) -> dict[int, Instance]:
        return {instance.spec.id: instance for instance in self._fleet}

    def _seen(self) -> dict[int, Seen]:
        return {number: Seen(each.spec, _is_kept(each)) for number, each in self._table().items()}

    def _missing(self) -> Mistake:
        path = self._settings.instances_file
        return Mistake("", 0, 0, f"cannot read {path}: there is no such file")


def _is_kept(instance: Instance) -> bool:
    """Whether it is meant to run, by the last that was asked of it, and was not given up."""
    if instance.asked:
        return not isinstance(instance.asked, StopAsked)
    return instance.life.wanted and instance.life.phase is not Phase.FAILED


def _failure(spec: InstanceSpec, result: Result) -> Failure:
    if result.outcome is Ended.REFUSED:
        return Failure(spec, result.code, result.message)
    code = result.exit.reason if result.exit else "start_failed"
    return Failure(spec, code, result.message, refused=False)


def _log(outcome: Outcome) -> None:
    for failure in outcome.failed:
        log.error("reload.failed", instance=failure.spec.id, error=failure.message)
    groups = ("started", "stopped", "restarted", "updated")
    log.info(
        "config.reloaded",
        **{group: [spec.id for spec in getattr(outcome, group)] for group in groups},
    )
