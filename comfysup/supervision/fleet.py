"""All instances of one daemon: who may have which id, name and port, and how callers wait."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from comfysup.model.printable import shortened
from comfysup.model.spec import InstanceSpec, Rescue
from comfysup.supervision.admission import (
    STOPPED_WHILE_STARTING,
    Admission,
    Look,
    OverriddenError,
    conflict,
    name_taken,
    shutting_down,
)
from comfysup.supervision.callers import Reply
from comfysup.supervision.events import LifecycleEvent, RestartAsked, StartAsked, StopAsked, WaitFor
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import StopEscalation
from comfysup.supervision.protocols import InstanceContext, RefusedError
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.results import Outcome, Result, result_of
from comfysup.supervision.tasks import END_PATIENCE, Owner, end_tasks
from comfysup.supervision.uniqueness import check_unique, is_bound, name_clash

Request: TypeAlias = StartAsked | RestartAsked | StopAsked

RELEASE_PATIENCE = 5 * END_PATIENCE
"""Seconds in which the task of an instance must have ended, the tasks of its process before it."""
NAMED = 20
"""Instances that an error names."""


class Fleet:
    """The process table.

    Checks and what follows from them happen without giving way to another task, so that twenty
    callers at once see one order. `reserved_port` is the daemon's own.
    """

    def __init__(self, context: InstanceContext, reserved_port: int) -> None:
        """Begin empty."""
        self._context = context
        self._reserved_port = reserved_port
        self._table: dict[int, Instance] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._admission = Admission(context.launcher)
        self._beginnings = Owner()
        self._removals: set[asyncio.Task[Result]] = set()
        self._closed = False

    def __iter__(self) -> Iterator[Instance]:
        """Go through the instances in the order of their ids."""
        return iter([self._table[number] for number in sorted(self._table)])

    def find(self, ref: str) -> Instance:
        """Return the instance of that id or name, or raise a `RefusedError` that names all."""
        for instance in self._table.values():
            if ref in (str(instance.spec.id), instance.spec.name):
                return instance
        raise RefusedError(
            "unknown_instance", f"no instance '{shortened(ref)}'; there are: {self._labels()}"
        )

    def restore(self, record: InstanceRecord) -> None:
        """Take an instance over from the daemon before this one, whatever it was in."""
        instance = self._add(Instance(record.spec, self._context, record))
        self._context.touched(instance)
        if record.removing:  # whoever asked for that is gone
            removal = asyncio.create_task(self.remove(instance))
            self._removals.add(removal)
            removal.add_done_callback(self._removals.discard)

    def lose_time(self, seconds: float) -> None:
        """Let every instance hear that nothing was looked at for so many seconds until now."""
        for instance in self:
            instance.lose_time(seconds)

    # ---- what callers ask for

    async def start(
        self, spec: InstanceSpec, wait_for: WaitFor, patience: float, rescue: Rescue | None = None
    ) -> Result:
        """Take `spec` into the table and start it; it succeeds at once when that already runs.

        `rescue` chooses among the prompts that it owes from before.
        """
        try:
            self._check_rules(spec)
            if self._is_bound(spec):
                instance = self._admit(spec)
                reply = instance.ask(StartAsked(rescue), wait_for)
            else:
                # Begun here and not in the task, whose turn may come after that of a stop.
                look = self._admission.begin(spec, port=self._needs_port(spec))
                # Goes on when the caller hangs up: what was asked for is carried out.
                begin = self._begin(look, wait_for, patience, rescue)
                instance, reply = await self._beginnings.finish(begin)
        except RefusedError as error:
            return Result(Outcome.REFUSED, None, str(error), error.code)
        except OverriddenError as error:
            return Result(Outcome.FAILED, self._table.get(spec.id), str(error))
        return await result_of(instance, reply, patience)

    async def _begin(
        self, look: Look, wait_for: WaitFor, patience: float, rescue: Rescue | None
    ) -> tuple[Instance, asyncio.Future[Reply]]:
        """Admit an instance that does not run and ask it to start.

        Raises `RefusedError`, and `OverriddenError` where a stop comes first.
        """
        try:
            await self._admission.finish(look, patience)
        except RefusedError as error:
            # Another caller may have started it during the look: then the port is its own.
            if error.code != "port_taken" or self._needs_port(look.spec):
                raise
        instance = self._admit(look.spec)
        return instance, instance.ask(StartAsked(rescue), wait_for)

    def hold_back(self, spec: InstanceSpec) -> Instance:
        """Take `spec` into the table as a stopped instance, in place of a start that was planned.

        The instance of that id is returned as it is where there is one. Raises `RefusedError` as
        `start` does; the planned start is called off all the same.
        """
        self._admission.call_off([spec.id])
        if present := self._table.get(spec.id):
            return present
        self._check_rules(spec)
        instance = self._add(Instance(spec, self._context))
        self._context.touched(instance)
        return instance

    async def start_again(
        self, instance: Instance, wait_for: WaitFor, patience: float, rescue: Rescue | None = None
    ) -> Result:
        """Start an instance of the table with the spec that it has; `rescue` as in `start`."""
        return await self.start(instance.spec, wait_for, patience, rescue)

    async def restart(
        self,
        instance: Instance,
        wait_for: WaitFor,
        patience: float,
        drain: float = 0.0,
        rescue: Rescue | None = None,
    ) -> Result:
        """Give an instance a new process; one that does not run is started.

        The old one may finish what it works on for `drain` seconds. `rescue` is which of its
        prompts the new one is given, None to leave that to the policy.
        """
        if instance.life.run is None:
            return await self.start_again(instance, wait_for, patience, rescue)
        try:
            self._refuse_when_closed(instance.spec)
            await self._admission.look(instance.spec, patience, port=False)
            self._refuse_when_closed(instance.spec)
        except RefusedError as error:
            return Result(Outcome.REFUSED, instance, str(error), error.code)
        except OverriddenError as error:
            return Result(Outcome.FAILED, instance, str(error))
        if not self._has(instance):  # removed during the look: nothing would answer any more
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
        """End an instance, by its own grace unless a ladder is given, and wait until it has.

        It may finish what it works on for `drain` seconds; `rescue` as in `restart`. With
        `returning` it is meant to be started after that: a daemon that dies before leaves the start
        to the next one.
        """
        self._admission.call_off([instance.spec.id])
        if not self._has(instance):
            return Result(Outcome.DONE, instance)
        instance.returning = returning
        escalation = escalation or StopEscalation.of(instance.spec.policy.stop_grace)
        asked = StopAsked(escalation, drain, rescue)
        return await _reply(instance, asked, WaitFor.STOP, patience)

    async def stop_all(self, longest: StopEscalation) -> list[Result]:
        """End all instances at once, each by the shorter of its own grace and `longest`."""
        self._admission.call_off()
        return await asyncio.gather(
            *(
                self.stop(
                    each, escalation=StopEscalation.of(each.spec.policy.stop_grace).hurried(longest)
                )
                for each in self
            )
        )

    def stops(self, number: int) -> int:
        """Return how many stops that id has had: one more calls off what was planned before it."""
        return self._admission.stops(number)

    async def remove(self, instance: Instance) -> Result:
        """End an instance and forget it, unless somebody starts it again meanwhile.

        It stays then, also where it is stopped after that. A daemon that dies in the middle of a
        removal leaves it to the next one.
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
                break  # whoever stops it at this moment is answered first
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
        """Give instances of the table other specs, all at once, so that names may be swapped.

        Return why some keep theirs, by id: a process depends on it, or the name is another's.
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

    # ---- the end of the daemon

    def close(self) -> None:
        """Refuse every start and restart from now on."""
        self._closed = True

    def dismiss(self) -> None:
        """Answer whoever waits that the wait is over; what was asked for goes on.

        What was only being looked at is not: it is refused, as by a fleet that is closed.
        """
        self._admission.close()
        for instance in self:
            instance.dismiss()

    async def release(self) -> None:
        """End the instances' tasks, but not their processes."""
        await self._beginnings.close()
        await end_tasks(self._removals)
        await end_tasks(self._tasks.values(), RELEASE_PATIENCE)

    # ---- rules

    def _check_rules(self, spec: InstanceSpec) -> None:
        """Raise `RefusedError` where the table forbids to start that."""
        self._refuse_when_closed(spec)
        check_unique(spec, self, self._reserved_port)
        present = self._table.get(spec.id)
        if present and is_bound(present) and present.spec.essence != spec.essence:
            raise conflict(present.spec, spec, "start")

    def _is_bound(self, spec: InstanceSpec) -> bool:
        present = self._table.get(spec.id)
        return present is not None and is_bound(present)

    def _needs_port(self, spec: InstanceSpec) -> bool:
        """Whether the port must be free now: nothing of the instance has it or is about to."""
        present = self._table.get(spec.id)
        return present is None or present.held_port != spec.port

    def _admit(self, spec: InstanceSpec) -> Instance:
        """Take a spec into the table; nothing else has its turn meanwhile."""
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
        """Name the instances, the first `NAMED` of them."""
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
