"""How a daemon goes on with what the one before it left."""

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from comfysup.comfyui.recognition import recognise
from comfysup.fields import default_name
from comfysup.settings import Settings
from comfysup.state import State, StateError, read_state
from comfysup.supervision.life import Life, Moment, Run, Starting
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


def recall(file: StateFile, life: ContainerLife, identity: str, settings: Settings) -> Recalled:
    """Return what was written down, or else what can be seen of the instances that live.

    A file that cannot be read is kept aside. Nobody is signalled.
    """
    try:
        return Recalled(read_state(file, life))
    except StateError as error:
        log.error("state.broken", error=str(error), kept=_aside(file))  # noqa: TRY400 - no defect
    seen = (_look(*each, settings) for each in marked(identity).items())
    records = {record.spec.id: record for record in seen if record}
    return Recalled(State(tuple(records.values())), certain=False)


async def sweep_strays(identity: str, records: Iterable[InstanceRecord]) -> None:
    """Kill what bears our marker and belongs to no generation that goes on."""
    owned = {f"{identity}:{each.spec.id}:{each.life.generation}" for each in records}
    for marker, found in marked(identity).items():
        if marker not in owned:
            log.warning("stray.killed", marker=marker, pids=[each.pid for each in found])
            await asyncio.gather(*map(kill_found, found))


def _aside(file: StateFile) -> str | None:
    try:
        return str(file.put_aside())
    except OSError:
        return None


def _look(marker: str, found: list[Found], settings: Settings) -> InstanceRecord | None:
    """Return the instance that bears that marker, as far as its leader shows it."""
    leader = next((each for each in found if each.leads()), None)
    record = _record(marker, leader, settings) if leader else None
    if record is None:
        pids = [each.pid for each in found]
        log.error("instance.unrecognised", marker=marker, pids=pids)
        return None
    log.warning("instance.recognised", instance=record.spec.id, pid=leader.pid if leader else None)
    return record


def _record(marker: str, leader: Found, settings: Settings) -> InstanceRecord | None:
    words = re.fullmatch(r"[^:]*:(\d{1,9}):(\d{1,9})", marker, re.ASCII)
    command = read_command(leader.pid)
    shown = recognise(command.argv, command.cwd, command.environ) if command else None
    if shown is None or words is None:
        return None
    number, generation = map(int, words.groups())
    spec = InstanceSpec(
        id=number,
        name=default_name(number),
        environment=shown.environment,
        port=shown.port,
        extra_args=shown.extra_args,
        gpu=shown.gpu,
        policy=settings.policy,
    )
    now = Moment(time.monotonic(), time.time())
    run = Run(leader.pid, started=now.after(-age(leader.start_time)))
    life = Life(Starting(run, now.monotonic + spec.policy.startup_timeout), generation)
    return InstanceRecord(spec, spec, life, ProcessRecord(leader.pid, leader.start_time))
