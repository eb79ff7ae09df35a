"""Recovers the state that the previous daemon left."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import structlog

from comfysup.app.state_store import State, StateError, read_state
from comfysup.comfyui.command import Recognised, recognise
from comfysup.config.instance_fields import default_name
from comfysup.config.settings import Settings
from comfysup.linux.executor import Executor
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.process.census import census, look_in_time
from comfysup.linux.process.proc import (
    age,
    all_pids,
    output_of,
    read_command,
    read_marker,
    read_stat,
)
from comfysup.linux.process.process import carry_out
from comfysup.linux.process.sweep import Sweep
from comfysup.linux.process.tree import NEVER, NOBODY, Found, ProcessTree, marked
from comfysup.linux.rundir.heartbeat import Heartbeat
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Aborting, Launching, Life, Moment, Run, Starting
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import TimeLost
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.stop_escalation import KILL_PATIENCE

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """The live processes of one generation of one instance."""

    marker: str
    instance: int
    generation: int
    processes: tuple[Found, ...]

    @property
    def leader(self) -> Found | None:
        return next((each for each in self.processes if each.leads()), None)


@dataclass(frozen=True, slots=True)
class RecoveredState:
    """The initial state of a daemon, and the processes that it must kill first.

    `strays` holds processes of generations older than the recovered one. It is empty if the state
    file could not be read in full, because no process may be killed on a guess. `trouble` states
    what could not be read. `at` is the monotonic time of the recovery.
    """

    state: State
    strays: tuple[Seen, ...] = ()
    trouble: str | None = None
    at: float | None = None


def going_on(records: Iterable[InstanceRecord]) -> frozenset[tuple[int, int]]:
    """Return the instances and generations that have a process or may have one."""
    return frozenset(
        (each.spec.id, each.life.generation)
        for each in records
        if each.process or isinstance(each.life.state, Launching | Aborting)
    )


def after_gap(record: InstanceRecord, looked: float | None, now: Moment) -> InstanceRecord:
    """Return the record with its deadlines extended by the time without a daemon.

    `looked` is the monotonic time of the last heartbeat. If it is unknown, no deadline has passed.
    """
    if looked is None:
        lost = max(0.0, now.monotonic - (record.life.deadline or now.monotonic))
    else:
        lost = now.monotonic - looked
    life, _ = step(record.life, TimeLost(lost), now, record.spec.policy)
    return replace(record, life=life)


async def recover_state(
    file: StateFile,
    life: BootIdentity,
    identity: str,
    settings: Settings,
    processes: Executor,
    fifo: Callable[[int, int], Path],
    heartbeat: Heartbeat | None = None,
) -> RecoveredState:
    """Return the stored state, corrected by the processes that live.

    A broken state file is kept aside. The file may also be missing, outdated because the last
    daemon could not write it, or edited. No process is signalled. `heartbeat` holds the time of the
    last heartbeat; the time since counts towards no deadline. `processes` reads /proc; a process
    whose files do not answer counts as absent. `fifo` returns the path of the output of an
    instance's generation.
    """
    written, trouble = _read(file, life)
    now = _now()
    records = {record.spec.id: record for record in written.instances}
    if heartbeat:
        looked = heartbeat.read(now.monotonic)
        records = {number: after_gap(each, looked, now) for number, each in records.items()}
    markers = await census(processes, read_marker)
    signs = Signs(identity, markers, fifo, processes)
    strangers: set[int] = set()
    for number, each in records.items():
        records[number], is_stranger = await with_own_process(each, signs)
        if is_stranger:
            strangers.add(number)
    if strangers:
        trouble = _of_strangers([records[number] for number in sorted(strangers)], trouble, file)
    everything = _seen(identity, markers)
    for seen in everything:
        known = records.get(seen.instance)
        certain = seen.instance not in written.uncertain | strangers
        if known and known.life.generation >= seen.generation + (not certain):
            continue
        if record := await _recognise(seen, known, settings, processes):
            records[seen.instance] = record
    present = {number: record.life.generation for number, record in records.items()}
    strays = [each for each in everything if each.generation < present.get(each.instance, 0)]
    state = replace(written, instances=tuple(records.values()))
    return RecoveredState(state, () if trouble else tuple(strays), trouble, now.monotonic)


async def sweep(strays: Iterable[Seen], threads: Executor) -> None:
    """Kill the strays, and wait at most `KILL_PATIENCE` seconds for each of them to end."""
    for stray in strays:
        pids = [each.pid for each in stray.processes]
        log.warning("stray.killed", instance=stray.instance, generation=stray.generation, pids=pids)
        try:
            async with asyncio.timeout(KILL_PATIENCE):
                process_tree = ProcessTree(NOBODY, stray.marker)
                await carry_out(Sweep(process_tree, all_pids, stray.processes), threads)
        except TimeoutError:
            log.error("stray.stuck", instance=stray.instance, pids=pids)  # noqa: TRY400 - no defect


def _read(file: StateFile, life: BootIdentity) -> tuple[State, str | None]:
    """Return the stored state, and a sentence about its unreadable parts or None."""
    try:
        written = read_state(file, life)
    except StateError as error:
        kept = _kept(file.put_aside)
        log.error("state.broken", error=str(error), kept=kept)  # noqa: TRY400 - no defect
        return State(), (
            f"{error}: only running instances were adopted; names, variables and stopped "
            f"instances are lost{_where(kept)}"
        )
    if not written.losses:
        return written, None
    kept = _kept(file.copy_aside)
    log.error("state.incomplete", losses=list(written.losses), kept=kept)
    return written, f"cannot read all of {file.path}: {'; '.join(written.losses)}{_where(kept)}"


def _of_strangers(records: Sequence[InstanceRecord], trouble: str | None, file: StateFile) -> str:
    """Return `trouble` extended by a sentence about processes that are not instances."""
    named = ", ".join(
        f"pid {each.process.pid} for instance {each.spec.label}" for each in records if each.process
    )
    log.error("state.strangers", processes=named)
    kept = None if trouble else _kept(file.copy_aside)
    sentence = f"{file.path} names {named}, but this daemon's marker is not on it: left alone"
    return f"{trouble}; {sentence}" if trouble else f"{sentence}{_where(kept)}"


def _kept(keep: Callable[[], Path]) -> str | None:
    try:
        return str(keep())
    except OSError:
        return None


def _where(kept: str | None) -> str:
    return f" (the file is kept as {kept})" if kept else ""


def _seen(identity: str, markers: Mapping[int, str]) -> list[Seen]:
    """Return every generation with a live process, the oldest first."""
    seen = []
    for marker, found in marked(identity, markers).items():
        if words := re.fullmatch(r"[^:]*:(\d{1,9}):(\d{1,9})", marker, re.ASCII):
            seen.append(Seen(marker, int(words[1]), int(words[2]), tuple(found)))
        else:
            log.error("marker.unreadable", marker=marker, pids=[each.pid for each in found])
    return sorted(seen, key=lambda each: each.generation)


async def _recognise(
    seen: Seen, known: InstanceRecord | None, settings: Settings, processes: Executor
) -> InstanceRecord | None:
    """Return the record that the leader's command line shows; `known` supplies the rest."""
    leader = seen.leader
    command = await look_in_time(processes, leader.pid, read_command) if leader else None
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
    now = _now()
    run = Run(leader.pid, started=now.after(-age(leader.start_time)))
    starting = Starting(run, now.monotonic + spec.policy.startup_timeout)
    life = replace(known.life if known else Life(), state=starting, generation=seen.generation)
    log.warning("instance.recognised", instance=spec.id, pid=leader.pid)
    return InstanceRecord(spec, spec, life, ProcessRecord(leader.pid, leader.start_time))


def _now() -> Moment:
    return Moment(time.monotonic(), time.time())


def _alike(one: InstanceSpec, other: InstanceSpec) -> bool:
    """Return whether two specs share all fields that a command line shows for certain."""
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


@dataclass(frozen=True, slots=True)
class Signs:
    """The data that identifies processes: the `markers` by pid, and the paths of the FIFOs.

    `identity` is the first part of this daemon's markers; `processes` reads /proc.
    """

    identity: str
    markers: Mapping[int, str]
    fifo: Callable[[int, int], Path]
    processes: Executor


async def with_own_process(record: InstanceRecord, signs: Signs) -> tuple[InstanceRecord, bool]:
    """Return the record corrected by its process's marker, and whether that is a stranger.

    In the record that is returned, a stranger is replaced by a process that has exited.
    """
    process = record.process
    stat = read_stat(process.pid) if process else None
    if process is None or stat is None:
        return record, False
    marker = signs.markers.get(process.pid, "")
    own = re.fullmatch(rf"{re.escape(signs.identity)}:{record.spec.id}:(\d{{1,9}})", marker)
    if stat.start_time != process.start_time:
        if own is None or int(own[1]) != record.life.generation or stat.session != process.pid:
            return record, False
        return replace(record, process=replace(process, start_time=stat.start_time)), False
    if own is not None:
        return replace(record, life=replace(record.life, generation=int(own[1]))), False
    if stat.ended:  # its variables are gone; only a launched process leads a session
        is_own = stat.session == process.pid
    else:
        is_own = not marker and await _writes_to_own_output(record, process, signs)
    return (record, False) if is_own else (replace(record, process=_nobody(process)), True)


async def _writes_to_own_output(
    record: InstanceRecord, process: ProcessRecord, signs: Signs
) -> bool:
    fifo = signs.fifo(record.spec.id, record.life.generation)

    def look(pid: int) -> Path | None:
        return output_of(pid, process.start_time, fifo)

    return await look_in_time(signs.processes, process.pid, look) is not None


def _nobody(process: ProcessRecord) -> ProcessRecord:
    return replace(process, start_time=NEVER)
