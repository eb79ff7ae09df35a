"""All instances of one daemon: who may have which id, name and port, and how callers wait."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from comfysup.supervision.events import (
    Asker,
    Notice,
    RestartAsked,
    StartAsked,
    StopAsked,
    Verdict,
)
from comfysup.supervision.instance import Instance, Reply
from comfysup.supervision.life import Exit, Ladder, Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.spec import InstanceSpec
from comfysup.supervision.world import World

Request: TypeAlias = StartAsked | RestartAsked | StopAsked


class Outcome(StrEnum):
    """How a request for one instance ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request; `instance` is None where nothing entered the table.

    `message` is a sentence for all but `DONE`; `code` stands with `REFUSED`, and `exit` where a
    process ended.
    """

    outcome: Outcome
    instance: Instance | None
    message: str = ""
    code: str = ""
    exit: Exit | None = None


class Fleet:
    """The process table.

    Checks and what follows from them happen without giving way to another task, so that twenty
    callers at once see one order. `reserved_port` is the daemon's own.
    """

    def __init__(self, world: World, reserved_port: int) -> None:
        """Begin empty."""
        self._world = world
        self._reserved_port = reserved_port
        self._table: dict[int, Instance] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    def __iter__(self) -> Iterator[Instance]:
        """Go through the instances in the order of their ids."""
        return iter([self._table[number] for number in sorted(self._table)])

    def find(self, ref: str) -> Instance:
        """Return the instance of that id or name, or raise a `RefusedError` that names all."""
        for instance in self._table.values():
            if ref in (str(instance.spec.id), instance.spec.name):
                return instance
        known = ", ".join(instance.spec.label for instance in self) or "none"
        raise RefusedError("unknown_instance", f"no instance {ref!r}; there are: {known}")

    def restore(self, record: InstanceRecord) -> None:
        """Take an instance over from the daemon before this one, whatever it was in."""
        instance = self._add(Instance(record.spec, self._world, record))
        self._world.touched(instance)

    # ---- what callers ask for

    async def start(self, spec: InstanceSpec, asker: Asker, patience: float) -> Result:
        """Take `spec` into the table and start it; it succeeds at once when that already runs."""
        try:
            instance = self._admit(spec)
        except RefusedError as error:
            return Result(Outcome.REFUSED, None, str(error), error.code)
        return await _reply(instance, StartAsked(), asker, patience)

    async def start_again(self, instance: Instance, asker: Asker, patience: float) -> Result:
        """Start an instance of the table with the spec that it has."""
        return await self.start(instance.spec, asker, patience)

    async def restart(
        self, instance: Instance, asker: Asker, patience: float, drain: float = 0.0
    ) -> Result:
        """Give an instance a new process; one that does not run is started.

        The old one may finish what it works on for `drain` seconds.
        """
        if instance.life.run is None:
            return await self.start_again(instance, asker, patience)
        try:
            self._refuse_when_closed(instance.spec)
            self._world.launcher.check_environment(instance.spec)
        except RefusedError as error:
            return Result(Outcome.REFUSED, instance, str(error), error.code)
        ladder = Ladder.of(instance.spec.policy.stop_grace)
        return await _reply(instance, RestartAsked(ladder, drain), asker, patience)

    async def stop(
        self,
        instance: Instance,
        patience: float | None = None,
        ladder: Ladder | None = None,
        drain: float = 0.0,
    ) -> Result:
        """End an instance, by its own grace unless a ladder is given, and wait until it has.

        It may finish what it works on for `drain` seconds.
        """
        if not self._has(instance):
            return Result(Outcome.DONE, instance)
        asked = StopAsked(ladder or Ladder.of(instance.spec.policy.stop_grace), drain)
        return await _reply(instance, asked, Asker.STOP, patience)

    async def stop_all(self, longest: Ladder) -> list[Result]:
        """End all instances at once, each by the shorter of its own grace and `longest`."""
        return await asyncio.gather(
            *(
                self.stop(each, ladder=Ladder.of(each.spec.policy.stop_grace).hurried(longest))
                for each in self
            )
        )

    async def remove(self, instance: Instance) -> Result:
        """End an instance and forget it, unless somebody starts it again meanwhile."""
        result = await self.stop(instance)
        if result.outcome is not Outcome.DONE or not self._has(instance):
            return result
        if isinstance(instance.asked, StopAsked):
            return await self.remove(instance)  # who stops it at this moment is answered first
        if not instance.idle:
            message = f"instance {instance.spec.label} was started again while it was removed"
            return Result(Outcome.FAILED, instance, message)
        del self._table[instance.spec.id]
        task = self._tasks.pop(instance.spec.id)
        task.cancel()
        self._world.observer(instance, Notice.REMOVED)
        await asyncio.wait([task])
        return result

    def amend(self, specs: Iterable[InstanceSpec]) -> dict[int, RefusedError]:
        """Give instances of the table other specs, all at once, so that names may be swapped.

        Return why some keep theirs, by id: a process depends on it, or the name is another's.
        """
        new = {spec.id: spec for spec in specs}
        refused = {
            spec.id: _conflict(present.spec, spec, "change")
            for spec in new.values()
            if _is_bound(present := self._table[spec.id]) and present.spec.essence != spec.essence
        }
        while clash := self._clash({key: new[key] for key in new if key not in refused}):
            refused[clash.id] = RefusedError(
                "name_taken", f"cannot rename instance {clash.label}: the name is taken"
            )
        for number in new.keys() - refused.keys():
            self._table[number].spec = new[number]
        return refused

    # ---- the end of the daemon

    def close(self) -> None:
        """Refuse every start and restart from now on."""
        self._closed = True

    def dismiss(self) -> None:
        """Answer whoever waits that the wait is over; what was asked for goes on."""
        for instance in self:
            instance.dismiss()

    async def release(self) -> None:
        """End the instances' tasks, but not their processes."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- rules

    def _admit(self, spec: InstanceSpec) -> Instance:
        self._refuse_when_closed(spec)
        self._check_name(spec)
        self._check_port(spec)
        present = self._table.get(spec.id)
        bound = present is not None and _is_bound(present)
        if present is not None and bound and present.spec.essence != spec.essence:
            raise _conflict(present.spec, spec, "start")
        if not bound:
            self._world.launcher.check_environment(spec)
            if present is None or present.life.run is None or present.spec.port != spec.port:
                self._world.launcher.check_port(spec)
        if present is None:
            present = self._add(Instance(spec, self._world))
        present.spec = spec
        return present

    def _add(self, instance: Instance) -> Instance:
        number = instance.spec.id
        self._table[number] = instance
        self._tasks[number] = asyncio.create_task(instance.run(), name=f"instance {number}")
        return instance

    def _has(self, instance: Instance) -> bool:
        return self._table.get(instance.spec.id) is instance

    def _refuse_when_closed(self, spec: InstanceSpec) -> None:
        if self._closed:
            raise RefusedError(
                "shutting_down", f"cannot start instance {spec.label}: comfysup is shutting down"
            )

    def _check_name(self, spec: InstanceSpec) -> None:
        for other in self:
            if other.spec.name == spec.name and other.spec.id != spec.id:
                raise RefusedError(
                    "name_taken",
                    f"cannot start instance {spec.label}: that is the name of instance "
                    f"{other.spec.id}",
                )

    def _clash(self, new: dict[int, InstanceSpec]) -> InstanceSpec | None:
        """Return one of the new specs whose name another instance would have too."""
        names = Counter(new.get(each.spec.id, each.spec).name for each in self)
        return next((spec for spec in new.values() if names[spec.name] > 1), None)

    def _check_port(self, spec: InstanceSpec) -> None:
        owner = "comfysup itself" if spec.port == self._reserved_port else None
        for other in self:
            if other.spec.id != spec.id and spec.port in _ports(other):
                owner = f"instance {other.spec.label}"
        if owner:
            raise RefusedError(
                "port_taken",
                f"cannot start instance {spec.label}: port {spec.port} belongs to {owner}",
            )


def _is_bound(instance: Instance) -> bool:
    """Whether a process of its present spec is what somebody waits for or uses."""
    if instance.asked:
        return not isinstance(instance.asked, StopAsked)
    return instance.life.wanted and instance.life.phase not in (Phase.BACKOFF, Phase.FAILED)


def _ports(instance: Instance) -> set[int | None]:
    """The ports that nobody else may have: the one that it is to use, and the one it still uses."""
    resting = instance.life.phase in (Phase.STOPPED, Phase.FAILED) and not _is_bound(instance)
    return {instance.held_port, None if resting else instance.spec.port}


def _conflict(present: InstanceSpec, spec: InstanceSpec, verb: str) -> RefusedError:
    names = ("environment", "port", "extra_args", "gpu", "env")
    what = ", ".join(name for name in names if getattr(present, name) != getattr(spec, name))
    return RefusedError(
        "spec_conflict",
        f"cannot {verb} instance {spec.label}: it runs with another {what}; stop it first",
    )


async def _reply(
    instance: Instance, request: Request, asker: Asker, patience: float | None
) -> Result:
    try:
        reply = await asyncio.wait_for(instance.ask(request, asker), patience)
    except TimeoutError:
        phase = instance.life.phase
        return Result(Outcome.TIMEOUT, instance, f"still {phase} after {patience:g} s")
    return _result(instance, reply)


def _result(instance: Instance, reply: Reply) -> Result:
    match reply.verdict:
        case Verdict.DONE:
            return Result(Outcome.DONE, instance)
        case Verdict.DISMISSED:
            return Result(Outcome.TIMEOUT, instance, reply.message)
        case Verdict.FAILED | Verdict.OVERRIDDEN | Verdict.STUCK:
            return Result(Outcome.FAILED, instance, reply.message, exit=reply.exit)
