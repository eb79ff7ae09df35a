"""All instances of one daemon: unique ids, names and ports, and the requests of callers."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from comfysup.model.printable import shortened
from comfysup.model.spec import InstanceSpec, Rescue
from comfysup.supervision.caller_requests import STOPPED_WHILE_STARTING
from comfysup.supervision.callers import Reply
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import (
    LifecycleEvent,
    RestartAsked,
    StartAsked,
    StopAsked,
    WaitFor,
)
from comfysup.supervision.protocols import InstanceContext, RefusedError
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.refusals import conflict, name_taken, shutting_down
from comfysup.supervision.results import Outcome, Result, result_of
from comfysup.supervision.start_checks import OverriddenError, StartCheck, StartChecks
from comfysup.supervision.stop_escalation import StopEscalation
from comfysup.supervision.tasks import END_PATIENCE, Owner, end_tasks
from comfysup.supervision.uniqueness import check_unique, is_bound, name_clash

Request: TypeAlias = StartAsked | RestartAsked | StopAsked

RELEASE_PATIENCE = 5 * END_PATIENCE
"""Seconds for the task of an instance to end, after the tasks of its process."""
NAMED = 20
"""The number of instances that an error message names."""


class Fleet:
    """The process table.

    A check and the change that follows it run without an await, so concurrent callers see one
    order. `reserved_port` is the daemon's own port.
    """

    def __init__(self, context: InstanceContext, reserved_port: int) -> None:
        """Start with no instances."""
        self._context = context
        self._reserved_port = reserved_port
        self._table: dict[int, Instance] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._start_checks = StartChecks(context.launcher)
        self._beginnings = Owner()
        self._removals: set[asyncio.Task[Result]] = set()
        self._closed = False

    def __iter__(self) -> Iterator[Instance]:
        """Iterate over the instances in the order of their ids."""
        return iter([self._table[number] for number in sorted(self._table)])

    def find(self, ref: str) -> Instance:
        """Return the instance with this id or name; raises `RefusedError` when none has it."""
        for instance in self._table.values():
            if ref in (str(instance.spec.id), instance.spec.name):
                return instance
        raise RefusedError(
            "unknown_instance", f"no instance '{shortened(ref)}'; there are: {self._labels()}"
        )

    def restore(self, record: InstanceRecord) -> None:
        """Restore an instance, in any state, from the record of the previous daemon."""
        instance = self._add(Instance(record.spec, self._context, record))
        self._context.touched(instance)
        if record.removing:  # its caller is gone
            removal = asyncio.create_task(self.remove(instance))
            self._removals.add(removal)
            removal.add_done_callback(self._removals.discard)

    def lose_time(self, seconds: float) -> None:
        """Pass a gap of that many seconds to every instance."""
        for instance in self:
            instance.lose_time(seconds)

    # ---- requests of callers

    async def start(
        self, spec: InstanceSpec, wait_for: WaitFor, patience: float, rescue: Rescue | None = None
    ) -> Result:
        """Add `spec` to the table and start it; an instance that already runs counts as started.

        `rescue` selects among the prompts that the instance owes from earlier processes. A refusal
        is returned as a `Result`, not raised.
        """
        try:
            self._check_rules(spec)
            if self._is_bound(spec):
                instance = self._admit(spec)
                reply = instance.ask(StartAsked(rescue), wait_for)
            else:
                # Begun before the task runs: a stop that comes before its first step must cancel
                # it.
                check = self._start_checks.begin(spec, port=self._needs_port(spec))
                # Continues when the caller disconnects, because an accepted request is carried out.
                begin = self._begin(check, wait_for, patience, rescue)
                instance, reply = await self._beginnings.finish(begin)
        except RefusedError as error:
            return Result(Outcome.REFUSED, None, str(error), error.code)
        except OverriddenError as error:
            return Result(Outcome.FAILED, self._table.get(spec.id), str(error))
        return await result_of(instance, reply, patience)

    async def _begin(
        self, check: StartCheck, wait_for: WaitFor, patience: float, rescue: Rescue | None
    ) -> tuple[Instance, asyncio.Future[Reply]]:
        """Admit an instance that is not running, and request its start.

        Raises `RefusedError` when the start is refused, and `OverriddenError` when a stop comes
        first.
        """
        try:
            await self._start_checks.finish(check, patience)
        except RefusedError as error:
            # Another caller may have started the instance during the check, so it holds its own
            # port.
            if error.code != "port_taken" or self._needs_port(check.spec):
                raise
        instance = self._admit(check.spec)
        return instance, instance.ask(StartAsked(rescue), wait_for)

    def hold_back(self, spec: InstanceSpec) -> Instance:
        """Add `spec` to the table as a stopped instance, instead of a planned start.

        Returns the present instance unchanged if one has that id. Raises `RefusedError` as `start`
        refuses. The planned start is cancelled in every case.
        """
        self._start_checks.cancel([spec.id])
        if present := self._table.get(spec.id):
            return present
        self._check_rules(spec)
        instance = self._add(Instance(spec, self._context))
        self._context.touched(instance)
        return instance

    async def start_again(
        self, instance: Instance, wait_for: WaitFor, patience: float, rescue: Rescue | None = None
    ) -> Result:
        """Start an instance of the table with its present spec; `rescue` as in `start`."""
        return await self.start(instance.spec, wait_for, patience, rescue)

    async def restart(
        self,
        instance: Instance,
        wait_for: WaitFor,
        patience: float,
        drain: float = 0.0,
        rescue: Rescue | None = None,
    ) -> Result:
        """Replace the process of an instance; an instance that is not running is started.

        The old process may finish its current work within `drain` seconds. `rescue` selects the
        prompts that the new process receives; None applies the policy.
        """
        if instance.life.run is None:
            return await self.start_again(instance, wait_for, patience, rescue)
        try:
            self._refuse_when_closed(instance.spec)
            await self._start_checks.check(instance.spec, patience, port=False)
            self._refuse_when_closed(instance.spec)
        except RefusedError as error:
            return Result(Outcome.REFUSED, instance, str(error), error.code)
        except OverriddenError as error:
            return Result(Outcome.FAILED, instance, str(error))
        if not self._has(instance):  # removed during the check, so nothing would reply
            return Result(Outcome.FAILED, instance, STOPPED_WHILE_STARTING)
        escalation = StopEscalation.of(instance.spec.policy.stop_grace)
        return await _reply(instance, RestartAsked(escalation, drain, rescue), wait_for, patience)

    async def stop(
        self,
        instance: Instance,
        patience: float | None = None,
        escalation: StopEscalation | None = None,
        drain: float = 0.0,
        rescue: Rescue | None = None,
        *,
        returning: bool = False,
    ) -> Result:
        """Stop an instance and wait for its exit; the default escalation uses its own grace.

        The process may finish its current work within `drain` seconds. `rescue` as in `restart`.
        `returning` means that a start follows the stop. If the daemon dies before that start, the
        next daemon performs it.
        """
        self._start_checks.cancel([instance.spec.id])
        if not self._has(instance):
            return Result(Outcome.DONE, instance)
        instance.returning = returning
        escalation = escalation or StopEscalation.of(instance.spec.policy.stop_grace)
        asked = StopAsked(escalation, drain, rescue)
        return await _reply(instance, asked, WaitFor.STOP, patience)

    async def stop_all(self, longest: StopEscalation) -> list[Result]:
        """Stop all instances at once, each with the shorter of its own grace and `longest`."""
        self._start_checks.cancel()
        return await asyncio.gather(
            *(
                self.stop(
                    each, escalation=StopEscalation.of(each.spec.policy.stop_grace).hurried(longest)
                )
                for each in self
            )
        )

    def stops(self, number: int) -> int:
        """Return how many stops that id has had; each one cancels the starts planned before it."""
        return self._start_checks.stops(number)

    async def remove(self, instance: Instance) -> Result:
        """Stop and remove an instance, unless a caller starts it meanwhile.

        An instance that was started meanwhile stays in the table, even if it is stopped later. If
        the daemon dies during a removal, the next daemon completes it.
        """
        instance.removing = True
        while True:
            result = await self.stop(instance)
            if not self._has(instance):
                return result
            if result.outcome is not Outcome.DONE:
                if result.outcome is Outcome.FAILED:
                    instance.removing = False
                return result
            if not isinstance(instance.asked, StopAsked):
                break  # a caller that stops the instance now gets its reply first
        if not (instance.removing and instance.idle):
            message = f"instance {instance.spec.label} was started again while it was removed"
            return Result(Outcome.FAILED, instance, message)
        del self._table[instance.spec.id]
        task = self._tasks.pop(instance.spec.id)
        task.cancel()
        self._context.observer(instance, LifecycleEvent.REMOVED)
        await end_tasks([task], RELEASE_PATIENCE)
        return result

    def amend(self, specs: Iterable[InstanceSpec]) -> dict[int, RefusedError]:
        """Replace the specs of several instances at once, so that names can be swapped.

        Returns an error, by id, for each instance that keeps its spec: a process depends on that
        spec, or the new name belongs to another instance.
        """
        new = {spec.id: spec for spec in specs}
        refused = {
            spec.id: conflict(present.spec, spec, "change")
            for spec in new.values()
            if is_bound(present := self._table[spec.id]) and present.spec.essence != spec.essence
        }
        while clash := name_clash({key: new[key] for key in new if key not in refused}, self):
            spec, owner = clash
            refused[spec.id] = name_taken(spec, owner, "rename")
        for number in new.keys() - refused.keys():
            self._table[number].spec = new[number]
        return refused

    # ---- shutdown

    def close(self) -> None:
        """Refuse every start and restart from now on."""
        self._closed = True

    def dismiss(self) -> None:
        """End the wait of every caller; the requested actions continue.

        A start that is still being checked does not continue: it is refused, as by a closed fleet.
        """
        self._start_checks.close()
        for instance in self:
            instance.dismiss()

    async def release(self) -> None:
        """End the instances' tasks, but not their processes."""
        await self._beginnings.close()
        await end_tasks(self._removals)
        await end_tasks(self._tasks.values(), RELEASE_PATIENCE)

    # ---- rules

    def _check_rules(self, spec: InstanceSpec) -> None:
        """Raise `RefusedError` when the table's rules forbid a start with `spec`."""
        self._refuse_when_closed(spec)
        check_unique(spec, self, self._reserved_port)
        present = self._table.get(spec.id)
        if present and is_bound(present) and present.spec.essence != spec.essence:
            raise conflict(present.spec, spec, "start")

    def _is_bound(self, spec: InstanceSpec) -> bool:
        present = self._table.get(spec.id)
        return present is not None and is_bound(present)

    def _needs_port(self, spec: InstanceSpec) -> bool:
        """Return whether the port must be free: the instance does not hold it already."""
        present = self._table.get(spec.id)
        return present is None or present.held_port != spec.port

    def _admit(self, spec: InstanceSpec) -> Instance:
        """Add a spec to the table without an await."""
        self._check_rules(spec)
        present = self._table.get(spec.id)
        if present is None:
            present = self._add(Instance(spec, self._context))
        self._context.admitted(spec)
        present.spec = spec
        return present

    def _add(self, instance: Instance) -> Instance:
        number = instance.spec.id
        self._table[number] = instance
        self._tasks[number] = asyncio.create_task(instance.run(), name=f"instance {number}")
        return instance

    def _labels(self) -> str:
        """Return the labels of the first `NAMED` instances."""
        labels = [instance.spec.label for instance in self]
        more = [f"and {len(labels) - NAMED} more"] if len(labels) > NAMED else []
        return ", ".join((*labels[:NAMED], *more)) or "none"

    def _has(self, instance: Instance) -> bool:
        return self._table.get(instance.spec.id) is instance

    def _refuse_when_closed(self, spec: InstanceSpec) -> None:
        if self._closed:
            raise shutting_down(spec)


async def _reply(
    instance: Instance, request: Request, wait_for: WaitFor, patience: float | None
) -> Result:
    return await result_of(instance, instance.ask(request, wait_for), patience)
