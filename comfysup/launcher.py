"""How an instance comes to be: a ComfyUI command, run as a Linux process, logged and diagnosed."""

import asyncio
import errno
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from comfysup.comfyui.command import Surroundings, build_command
from comfysup.comfyui.diagnosis import diagnose
from comfysup.comfyui.environment import Environment, Environments
from comfysup.comfyui.reboot import RebootRequest
from comfysup.supervision.life import Exit
from comfysup.supervision.protocols import Ending, LaunchError, ProcessRecord, RefusedError
from comfysup.supervision.spec import InstanceSpec
from comfysup.system import process as linux
from comfysup.system.cgroup import OomKills
from comfysup.system.gpu import GpuDesk
from comfysup.system.lineage import find_generation, identity_of
from comfysup.system.listeners import Listener, listener_of, port_is_free
from comfysup.system.log_pipe import LogPipe
from comfysup.system.log_pump import LogPump
from comfysup.system.pid_file import PATIENCE, PidFile, PidFileAside
from comfysup.system.proc import read_command
from comfysup.system.reaper import Reaper
from comfysup.system.run_directory import RunDirectory

log = structlog.get_logger()

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

TAIL_LINES = 20
"""How many of the last log lines stand in an exit; the diagnosis looks at ten times as many."""


@dataclass(frozen=True, slots=True)
class Places:
    """The directories that instances are run from and leave traces in."""

    run: RunDirectory
    logs: Path
    pids: Path

    def log_file(self, instance: int) -> Path:
        return self.logs / f"comfyui_instance_{instance}.log"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What instances share of the machine: its memory, and who has which GPU."""

    oom_kills: OomKills
    gpus: GpuDesk


@dataclass(frozen=True, slots=True)
class Traces:
    """What a process leaves behind, and how to read it.

    `log_heading` ends the line of the log behind which everything is from this process;
    `earlier_kills` is the `count` of `oom_kills` at its beginning.
    """

    log_heading: str
    pid_file: PidFileAside
    reboot: RebootRequest
    known_flags: frozenset[str]
    oom_kills: OomKills
    earlier_kills: int

    def killed_for_memory(self, signal_name: str | None) -> bool:
        """Say whether the kernel ended it for want of memory."""
        return signal_name == "SIGKILL" and self.oom_kills.claim(self.earlier_kills)


class InstanceProcess:
    """The process of one generation with its log and its other traces."""

    def __init__(self, process: linux.Process, pipe: LogPipe, traces: Traces) -> None:
        self._process = process
        self._pipe = pipe
        self._traces = traces

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def record(self) -> ProcessRecord:
        return ProcessRecord(self._process.pid, self._process.start_time)

    def signal_group(self, number: signal.Signals) -> None:
        self._process.signal_group(number)

    async def ended(self) -> Ending:
        status = await self._process.ended()
        at = time.time()
        lines = await self._pipe.last_lines(10 * TAIL_LINES, self._traces.log_heading)
        name = _signal_name(status.signal)
        found = diagnose(
            exit_code=status.code,
            signal=name,
            log_tail=lines,
            oom_killed=self._traces.killed_for_memory(name),
            known_flags=self._traces.known_flags,
        )
        end = Exit(
            at,
            found.reason,
            found.message,
            exit_code=status.code,
            signal=name,
            hint=found.hint,
            log_tail=tuple(lines[-TAIL_LINES:]),
        )
        return Ending(end, reboot=status.code == 0 and self._traces.reboot.take())

    async def sweep(self) -> None:
        removed = self._traces.pid_file.remove()
        await self._process.sweep()
        await self._pipe.close()
        await asyncio.wait([removed], timeout=PATIENCE)


class InstanceLauncher:
    """Launches the instances of one workspace.

    `surroundings` is what all of them inherit.
    """

    def __init__(
        self,
        environments: Environments,
        places: Places,
        reaper: Reaper,
        surroundings: Surroundings,
        pump: LogPump,
        hardware: Hardware,
    ) -> None:
        self._hardware = hardware
        self._environments = environments
        self._places = places
        self._reaper = reaper
        self._surroundings = surroundings
        self._pump = pump
        self._identity = places.run.identity()

    def check_environment(self, spec: InstanceSpec) -> None:
        """Raise `RefusedError` unless the environment of that spec is there and usable."""
        self._usable_environment(spec)

    def check_port(self, spec: InstanceSpec) -> None:
        """Raise `RefusedError`, naming who has it, unless the port of that spec is free."""
        if not port_is_free(spec.port):
            raise RefusedError(
                "port_taken", f"cannot start instance {spec.label}: {_who_has(spec.port)}"
            )

    async def launch(self, spec: InstanceSpec, generation: int) -> InstanceProcess:
        """Make the process of that generation; raises `LaunchError`."""
        try:
            environment = self._usable_environment(spec)
        except RefusedError as error:
            raise LaunchError("environment_unusable", str(error)) from error
        gpu = await self._hardware.gpus.assign(spec.id, spec.gpu, again=generation > 1)
        try:
            if not port_is_free(spec.port):
                raise LaunchError("port_in_use", _who_has(spec.port))
            return self._spawn(environment, spec, generation, gpu)
        except OSError as error:
            reason = "disk_full" if error.errno in DISK_FULL else "spawn_failed"
            raise LaunchError(reason, f"cannot start the process: {error}") from error

    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> InstanceProcess:
        """Take over the process of that generation from a daemon that is gone."""
        marker = self._marker(spec, generation)
        log_file = self._places.log_file(spec.id)
        fifo = self._places.run.fifo(spec.id, generation)
        try:
            pipe = LogPipe.adopt(fifo, log_file, self._pump)
            output = identity_of(fifo)
        except FileNotFoundError:  # swept, and not told any more: what it wrote is in the log
            pipe, output = LogPipe.create(fifo, log_file, self._pump), None
        process = linux.Process.adopt(record.pid, record.start_time, marker, self._reaper, output)
        command = read_command(record.pid)
        visible = command.environ.get("CUDA_VISIBLE_DEVICES") if command else None
        self._hardware.gpus.take_over(spec.id, visible if spec.gpu else None)
        try:
            flags = self._environments.find(spec.environment).flags
        except RefusedError:
            flags = frozenset()
        return InstanceProcess(process, pipe, self._traces(spec, generation, record.pid, flags))

    def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        """Look for the process of a generation in whose launch a daemon died."""
        found = find_generation(self._marker(spec, generation))
        return ProcessRecord(found.pid, found.start_time) if found else None

    def _marker(self, spec: InstanceSpec, generation: int) -> str:
        return f"{self._identity}:{spec.id}:{generation}"

    def _traces(
        self, spec: InstanceSpec, generation: int, pid: int, flags: frozenset[str]
    ) -> Traces:
        return Traces(
            _log_heading(generation),
            PidFileAside(PidFile(self._places.pids, spec.id, pid), self._pump),
            RebootRequest(self._places.run.session(spec.id)),
            flags,
            self._hardware.oom_kills,
            self._hardware.oom_kills.count(),
        )

    def _usable_environment(self, spec: InstanceSpec) -> Environment:
        environment = self._environments.find(spec.environment)
        if environment.usable:
            return environment
        reason = "; ".join(environment.problems)
        raise RefusedError("unknown_environment", f"cannot start instance {spec.label}: {reason}")

    def _spawn(
        self, environment: Environment, spec: InstanceSpec, generation: int, gpu: str | None
    ) -> InstanceProcess:
        session = self._places.run.session(spec.id)
        RebootRequest(session).clear()
        command = build_command(environment, spec, self._surroundings, session=session, gpu=gpu)
        for directory in command.directories:
            directory.mkdir(parents=True, exist_ok=True)
        fifo = self._places.run.fifo(spec.id, generation)
        pipe = LogPipe.create(fifo, self._places.log_file(spec.id), self._pump)
        first_line = f"=== {_now()} comfysup: {spec.label} {_log_heading(generation)}"
        try:
            output = pipe.open_for_instance(first_line)
            try:
                process = linux.Process.spawn(
                    command.argv,
                    cwd=command.cwd,
                    env=command.env,
                    output=output,
                    marker=self._marker(spec, generation),
                    reaper=self._reaper,
                )
            finally:
                os.close(output)
        except OSError:
            pipe.abandon()
            raise
        traces = self._traces(spec, generation, process.pid, environment.flags)
        traces.pid_file.write()
        return InstanceProcess(process, pipe, traces)


def _log_heading(generation: int) -> str:
    """Return how the line ends that begins a generation in the log."""
    return f"starts, generation {generation}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _who_has(port: int) -> str:
    listener = listener_of(port) or Listener(None)
    return f"port {port} is in use by {listener.describe()}"


def _signal_name(number: signal.Signals | int | None) -> str | None:
    match number:
        case signal.Signals():
            return number.name
        case int():
            return f"signal {number}"
        case None:
            return None
