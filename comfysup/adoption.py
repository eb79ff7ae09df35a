"""How a daemon goes on with what the one before it left."""

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

import structlog

from comfysup.comfyui.recognition import Recognised, recognise
from comfysup.fields import default_name
from comfysup.settings import Settings
from comfysup.state import State, StateError, read_state
from comfysup.supervision.life import KILL_PATIENCE, Life, Moment, Run, Starting
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.container_life import ContainerLife
from comfysup.system.lineage import Found, marked
from comfysup.system.proc import age, read_command
from comfysup.system.process import kill_found
from comfysup.system.state_file import StateFile

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a daemon begins with; `certain` unless the state file could not be read."""

    state: State
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What lives of one generation of one instance."""

    instance: int
    generation: int
    processes: tuple[Found, ...]

    @property
    def leader(self) -> Found | None:
        return next((each for each in self.processes if each.leads()), None)


def recall(file: StateFile, life: ContainerLife, identity: str, settings: Settings) -> Recalled:
    """Return what was written down, put right by what can be seen of the instances that live.

    The file may be broken, then it is kept aside; or gone; or behind, since the last daemon could
    not write any more. Nobody is signalled.
    """
    try:
        written, certain = read_state(file, life), True
    except StateError as error:
        log.error("state.broken", error=str(error), kept=_aside(file))  # noqa: TRY400 - no defect
        written, certain = State(), False
    records = {record.spec.id: record for record in written.instances}
    for seen in _see(identity):
        known = records.get(seen.instance)
        if known and known.life.generation >= seen.generation:
            continue
        if record := _recognise(seen, known, settings):
            records[seen.instance] = record
    return Recalled(replace(written, instances=tuple(records.values())), certain)


async def sweep_strays(identity: str, records: Iterable[InstanceRecord]) -> None:
    """Kill what earlier generations left of instances that go on with a later one."""
    present = {each.spec.id: each.life.generation for each in records}
    for seen in _see(identity):
        if seen.generation < present.get(seen.instance, 0):
            pids = [each.pid for each in seen.processes]
            log.warning(
                "stray.killed", instance=seen.instance, generation=seen.generation, pids=pids
            )
            try:
                async with asyncio.timeout(KILL_PATIENCE):
                    await asyncio.gather(*map(kill_found, seen.processes))
            except TimeoutError:
                log.error("stray.stuck", instance=seen.instance, pids=pids)  # noqa: TRY400 - no defect


def _aside(file: StateFile) -> str | None:
    try:
        return str(file.put_aside())
    except OSError:
        return None


def _see(identity: str) -> list[Seen]:
    """Return every generation that something lives of, the oldest first."""
    seen = []
    for marker, found in marked(identity).items():
        if words := re.fullmatch(r"[^:]*:(\d{1,9}):(\d{1,9})", marker, re.ASCII):
            seen.append(Seen(int(words[1]), int(words[2]), tuple(found)))
        else:
            log.error("marker.unreadable", marker=marker, pids=[each.pid for each in found])
    return sorted(seen, key=lambda each: each.generation)


def _recognise(
    seen: Seen, known: InstanceRecord | None, settings: Settings
) -> InstanceRecord | None:
    """Return the instance as its leader shows it; what that cannot show is as it was `known`."""
    leader = seen.leader
    command = read_command(leader.pid) if leader else None
    shown = recognise(command.argv, command.cwd, command.environ) if command else None
    if leader is None or shown is None:
        pids = [each.pid for each in seen.processes]
        log.error(
            "instance.unrecognised",
            instance=seen.instance,
            generation=seen.generation,
            pids=pids,
        )
        return None
    spec = _shown_spec(seen.instance, shown, settings)
    if known and _alike(known.spec, spec):
        spec = known.spec
    now = Moment(time.monotonic(), time.time())
    run = Run(leader.pid, started=now.after(-age(leader.start_time)))
    starting = Starting(run, now.monotonic + spec.policy.startup_timeout)
    life = replace(known.life if known else Life(), state=starting, generation=seen.generation)
    log.warning("instance.recognised", instance=spec.id, pid=leader.pid)
    return InstanceRecord(spec, spec, life, ProcessRecord(leader.pid, leader.start_time))


def _alike(one: InstanceSpec, other: InstanceSpec) -> bool:
    """Whether two specs share all that a command line shows for certain."""
    shown = attrgetter("environment", "port", "extra_args")
    return bool(shown(one) == shown(other))


def _shown_spec(number: int, shown: Recognised, settings: Settings) -> InstanceSpec:
    return InstanceSpec(
        id=number,
        name=default_name(number),
        environment=shown.environment,
        port=shown.port,
        extra_args=shown.extra_args,
        gpu=shown.gpu,
        policy=settings.policy,
    )
