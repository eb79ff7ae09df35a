"""Launches an instance: a ComfyUI command as a Linux process, with its log and diagnosis."""

import asyncio
import os
from collections.abc import Callable, Container
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from comfysup.app import launch_errors
from comfysup.app.instance_process import EnvironmentFiles, InstanceProcess, RunArtifacts
from comfysup.comfyui.command import InheritedEnv, build_command
from comfysup.comfyui.diagnosis.circumstances import known_at_start
from comfysup.comfyui.environment.workspace import Environments
from comfysup.comfyui.reboot import RebootRequest
from comfysup.linux.executor import Executors, UnresponsiveError
from comfysup.linux.host.gpu import GpuAllocator
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.host.ports import holder_of, port_is_free
from comfysup.linux.process import descriptors
from comfysup.linux.process import process as linux
from comfysup.linux.process.census import census
from comfysup.linux.process.proc import Command, output_of, read_command, read_marker
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.process.spawn import Attempt
from comfysup.linux.process.tree import (
    Found,
    find_generation,
    has_for_stdout,
    identity_of,
    oldest_of,
)
from comfysup.linux.rundir.pid_file import PidFile, PidFileAside
from comfysup.linux.rundir.run_directory import RunDirectory
from comfysup.logs.pipe import LogPipe, hold, make_fifo, open_for_instance
from comfysup.logs.pump import LogPump
from comfysup.model.environment import Environment
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import ProcessRecord, RefusedError

log = structlog.get_logger()

LAUNCH_PATIENCE = 10.0
"""Seconds for reading the environment, and again for creating its process."""

LAUNCH_DEADLINE = 15.0
"""Seconds for a whole launch: reading the environment, choosing a GPU, creating the process."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories for the instances' runtime files, logs and PID files."""

    run: RunDirectory
    logs: Path
    pids: Path

    def log_file(self, instance: int) -> Path:
        return self.logs / f"comfyui_instance_{instance}.log"


@dataclass(frozen=True, slots=True)
class Hardware:
    """The shared hardware of the instances: the memory kills, and the assignment of GPUs."""

    oom_kills: OomKills
    gpus: GpuAllocator


class InstanceLauncher:
    """Launches the instances of one workspace.

    `inherited_env` is the environment that all instances inherit.
    """

    def __init__(
        self,
        environments: Environments,
        paths: Paths,
        reaper: Reaper,
        inherited_env: InheritedEnv,
        pump: LogPump,
        hardware: Hardware,
        executors: Executors,
    ) -> None:
        self._executors = executors
        self._hardware = hardware
        self._environments = environments
        self._paths = paths
        self._reaper = reaper
        self._inherited_env = inherited_env
        self._pump = pump
        self._identity = paths.run.identity()
        self._under_way = 0

    async def check(self, spec: InstanceSpec, *, port: bool) -> None:
        """Raise `RefusedError` unless the environment is usable and a requested port is free."""
        try:
            await self._look(spec)
            if port:
                await self._executors.processes.ask(
                    partial(self._check_port, spec), "the listening sockets", LAUNCH_PATIENCE
                )
        except OSError as error:
            unresponsive = isinstance(error, UnresponsiveError)
            reason = "environment_unresponsive" if unresponsive else "start_failed"
            raise RefusedError(reason, f"cannot start instance {spec.label}: {error}") from error

    async def launch(self, spec: InstanceSpec, generation: int) -> InstanceProcess:
        """Create the process of that generation; raises `LaunchError` when that fails."""
        self._under_way += 1
        try:
            if reason := descriptors.shortage(self._under_way):
                raise launch_errors.from_shortage(reason)
            async with asyncio.timeout(LAUNCH_DEADLINE):
                environment = await self._look(spec)
                gpu = await self._assign_gpu(spec, again=generation > 1)
                make = partial(self._spawn, environment, spec, generation, gpu)
                process, reader = await self._make(make, environment)
        except TimeoutError as error:
            raise launch_errors.from_timeout(LAUNCH_DEADLINE) from error
        except RefusedError as error:
            raise launch_errors.from_refusal(error) from error
        except OSError as error:
            raise launch_errors.from_os_error(error) from error
        finally:
            self._under_way -= 1
        fifo = self._paths.run.fifo(spec.id, generation)
        pipe = LogPipe(fifo, self._paths.log_file(spec.id), self._pump, reader, new_line=True)
        artifacts = self._artifacts(spec, process.pid, gpu)
        artifacts.pid_file.write()
        return InstanceProcess(process, pipe, artifacts)

    def adopt(self, spec: InstanceSpec, generation: int, record: ProcessRecord) -> InstanceProcess:
        """Adopt the process of that generation from a daemon that is gone."""
        marker = self._marker(spec, generation)
        log_file = self._paths.log_file(spec.id)
        fifo = self._paths.run.fifo(spec.id, generation)
        pid, start_time = record.pid, record.start_time
        source = fifo if fifo.exists() else output_of(pid, start_time, fifo)
        try:
            pipe = LogPipe.adopt(fifo, log_file, self._pump, record.log_began, source)
            output = identity_of(source or fifo)
        except FileNotFoundError:  # already swept: its output is in the log
            pipe = LogPipe.create(fifo, log_file, self._pump, record.log_began)
            output = None
        process = linux.Process.adopt(
            pid, start_time, marker, self._reaper, self._executors.sweeps, output
        )
        if spec.gpu:
            self._take_over_gpu(spec.id, record.pid)
        return InstanceProcess(process, pipe, self._artifacts(spec, record.pid))

    async def find(self, spec: InstanceSpec, generation: int) -> ProcessRecord | None:
        """Search for the process of a generation during whose launch a daemon died.

        A process that has not executed its program yet is recognised by its output. If no process
        is found, its unread output is written to the log.
        """
        fifo = self._paths.run.fifo(spec.id, generation)
        with ExitStack() as undo:
            with suppress(OSError):
                # Until the search ends, this descriptor preserves the unread output. The process
                # may exit, and the descriptors that an earlier program handed over may close.
                if (held := hold(fifo)) is not None:
                    undo.callback(os.close, held)
            found = await self._look_for(self._marker(spec, generation), fifo)
            if found is None and (pipe := self._settle(fifo, spec.id)):
                await pipe.close()
        return ProcessRecord(found.pid, found.start_time) if found else None

    def settle_outputs(self, going_on: Container[tuple[int, int]]) -> None:
        """Write the unread output of each generation that does not continue to its log.

        `going_on` holds the instances and generations that may still write output. A daemon that
        dies while a log stalls leaves such a FIFO. The FIFO may be empty by now, and the log then
        says so.
        """
        for fifo, instance, generation in self._paths.run.fifos():
            if (instance, generation) not in going_on and (pipe := self._settle(fifo, instance)):
                pipe.abandon()

    def _settle(self, fifo: Path, instance: int) -> LogPipe | None:
        """Return a pipe that reads a FIFO to its end; None if the FIFO cannot be opened."""
        try:
            return LogPipe.adopt(fifo, self._paths.log_file(instance), self._pump)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("fifo.not_read", fifo=str(fifo), error=str(error))
            return None

    async def _look_for(self, marker: str, fifo: Path) -> Found | None:
        processes = self._executors.processes
        if found := find_generation(marker, await census(processes, read_marker)):
            return found
        try:
            output = identity_of(fifo)
        except FileNotFoundError:
            return None
        holders = await census(processes, partial(has_for_stdout, output))
        return oldest_of(pid for pid, holds in holders.items() if holds)

    def _marker(self, spec: InstanceSpec, generation: int) -> str:
        return f"{self._identity}:{spec.id}:{generation}"

    def _artifacts(self, spec: InstanceSpec, pid: int, gpu: str | None = None) -> RunArtifacts:
        return RunArtifacts(
            PidFileAside(PidFile(self._paths.pids, spec.id, pid), self._pump.ask),
            RebootRequest(self._paths.run.session(spec.id)),
            EnvironmentFiles(
                self._environments,
                spec.environment,
                known_at_start(spec, self._inherited_env, gpu or spec.gpu),
                self._executors.environments,
            ),
            self._hardware.oom_kills,
            self._hardware.oom_kills.count(),
        )

    async def _look(self, spec: InstanceSpec) -> Environment:
        """Return a usable environment; raises `RefusedError`, and OSError if its disk hangs."""
        return await self._executors.environments.ask(
            partial(self._usable_environment, spec),
            str(self._environments.path(spec.environment)),
            LAUNCH_PATIENCE,
        )

    async def _assign_gpu(self, spec: InstanceSpec, *, again: bool) -> str | None:
        try:
            return await self._hardware.gpus.assign(spec.id, spec.gpu, again=again)
        except UnresponsiveError as error:
            raise launch_errors.from_driver(error) from error

    async def _make(
        self, make: Callable[[], tuple[linux.Process, int]], environment: Environment
    ) -> tuple[linux.Process, int]:
        """Create a process in a thread; raises OSError when its disk does not answer in time.

        If cancelled before the process exists, nothing is left behind. If cancelled later, the
        process is returned.
        """
        return await Attempt(make, _undo).carry_out(
            self._executors.environments, str(environment.path), LAUNCH_PATIENCE
        )

    # ---- blocking calls, run in a thread

    def _usable_environment(self, spec: InstanceSpec) -> Environment:
        environment = self._environments.find(spec.environment)
        if reason := self._hardware.gpus.refusal(spec.gpu):
            raise RefusedError("unknown_gpu", f"cannot start instance {spec.label}: {reason}")
        if environment.usable:
            return environment
        reason = "; ".join(environment.problems)
        raise RefusedError("unknown_environment", f"cannot start instance {spec.label}: {reason}")

    def _check_port(self, spec: InstanceSpec) -> None:
        if not port_is_free(spec.port):
            raise RefusedError(
                "port_taken", f"cannot start instance {spec.label}: {_who_has(spec.port)}"
            )

    def _spawn(
        self, environment: Environment, spec: InstanceSpec, generation: int, gpu: str | None
    ) -> tuple[linux.Process, int]:
        """Start the process; return it with the reading end of its output."""
        if not port_is_free(spec.port):
            raise launch_errors.from_port(_who_has(spec.port))
        session = self._paths.run.session(spec.id)
        RebootRequest(session).clear()
        command = build_command(environment, spec, self._inherited_env, session=session, gpu=gpu)
        for directory in command.directories:
            directory.mkdir(parents=True, exist_ok=True)
        fifo = self._paths.run.fifo(spec.id, generation)
        first_line = f"=== {_now()} comfysup: {spec.label} starts, generation {generation}"
        with ExitStack() as undo:
            undo.callback(fifo.unlink, missing_ok=True)
            reader = make_fifo(fifo)
            undo.callback(os.close, reader)
            output = open_for_instance(fifo, first_line)
            try:
                process = linux.Process.spawn(
                    command.argv,
                    cwd=command.cwd,
                    env=command.env,
                    output=output,
                    marker=self._marker(spec, generation),
                    reaper=self._reaper,
                    sweeps=self._executors.sweeps,
                )
            finally:
                os.close(output)
            undo.pop_all()
        return process, reader

    def _take_over_gpu(self, instance: int, pid: int) -> None:
        """Record an adopted process's GPUs without waiting: its variables may not be readable."""

        def take_over(reading: asyncio.Future[Command | None]) -> None:
            if not reading.cancelled() and not reading.exception():
                command = reading.result()
                visible = command.environ.get("CUDA_VISIBLE_DEVICES") if command else None
                self._hardware.gpus.take_over(instance, visible)

        reading = self._executors.processes.submit(partial(read_command, pid), f"process {pid}")
        reading.add_done_callback(take_over)


def _undo(made: tuple[linux.Process, int]) -> None:
    """Kill a process that was created too late, and close its output."""
    process, reader = made
    process.undo()
    os.close(reader)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _who_has(port: int) -> str:
    return f"port {port} is in use by {holder_of(port)}"
