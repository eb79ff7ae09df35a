"""The process of one generation: a Linux process with its log, artifacts and exit."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from comfysup.comfyui.diagnosis.circumstances import Circumstances, circumstances_of, conditions_of
from comfysup.comfyui.diagnosis.diagnosis import MAX_LINES, diagnose
from comfysup.comfyui.environment.workspace import Environments
from comfysup.comfyui.reboot import RebootRequest
from comfysup.linux.executor import Executor
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.process import process as linux
from comfysup.linux.rundir.pid_file import PATIENCE, PidFileAside
from comfysup.logs.pipe import PATIENCE as PIPE_PATIENCE
from comfysup.logs.pipe import LogPipe
from comfysup.supervision.life import Exit
from comfysup.supervision.protocols import Condition, ProcessRecord, RefusedError
from comfysup.supervision.tasks import bounded

T = TypeVar("T")

FILES_PATIENCE = 1.0
"""Seconds to wait for the files of an environment, which only serve a hint."""


@dataclass(frozen=True, slots=True)
class EnvironmentFiles:
    """Reads, in a thread, the files of one environment that explain a process.

    `known` holds the circumstances known without the files, used if they cannot be read in time.
    """

    environments: Environments
    name: str
    known: Circumstances
    executor: Executor

    async def circumstances(self, lines: Sequence[str]) -> Circumstances:
        """Return the circumstances of a process that exited with these last lines."""
        look = partial(circumstances_of, self.environments, self.name, self.known, lines)
        return await self._ask(look, self.known)

    async def conditions(self, lines: Sequence[str]) -> Sequence[Condition]:
        """Return the conditions of a ready process whose output starts with these lines."""
        return await self._ask(partial(conditions_of, lines), ())

    async def _ask(self, look: Callable[[], T], otherwise: T) -> T:
        resource = str(self.environments.path(self.name))
        try:
            return await self.executor.ask(look, resource, FILES_PATIENCE)
        except (OSError, RefusedError):
            return otherwise


@dataclass(frozen=True, slots=True)
class RunArtifacts:
    """The files and counters that explain a process's exit.

    `earlier_kills` is the `count` of `oom_kills` at the start of the process.
    """

    pid_file: PidFileAside
    reboot: RebootRequest
    files: EnvironmentFiles
    oom_kills: OomKills
    earlier_kills: int

    def killed_for_memory(self, signal_name: str | None) -> bool:
        """Return whether the kernel killed the process because memory was exhausted."""
        return signal_name == "SIGKILL" and self.oom_kills.claim(self.earlier_kills)


class InstanceProcess:
    """The process of one generation with its log and artifacts."""

    def __init__(self, process: linux.Process, pipe: LogPipe, artifacts: RunArtifacts) -> None:
        self._process = process
        self._pipe = pipe
        self._artifacts = artifacts
        self._kill_sent = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def record(self) -> ProcessRecord:
        return ProcessRecord(self._process.pid, self._process.start_time, self._pipe.began)

    def signal_group(self, number: signal.Signals) -> None:
        self._kill_sent = self._kill_sent or number is signal.SIGKILL
        self._process.signal_group(number)

    async def ended(self) -> Exit:
        status = await self._process.ended()
        at = time.time()
        lines = await self._pipe.last_lines(MAX_LINES)
        name = _signal_name(status.signal)
        files = self._artifacts.files
        told = name in {None, "SIGABRT"} and status.code != 0  # else the status explains itself
        circumstances = await files.circumstances(lines or ()) if told else files.known
        return diagnose(
            at=at,
            exit_code=status.code,
            signal=name,
            log_tail=lines,
            reboot=status.code == 0 and self._artifacts.reboot.take(),
            oom_killed=not self._kill_sent and self._artifacts.killed_for_memory(name),
            circumstances=circumstances,
        )

    async def recorded(self) -> None:
        await self._pipe.begun()

    async def conditions(self) -> Sequence[Condition]:
        return await self._artifacts.files.conditions(await self._pipe.first_lines())

    async def last_lines(self, count: int) -> Sequence[str]:
        return await self._pipe.last_lines(count) or ()

    async def sweep(self) -> None:
        removed = self._artifacts.pid_file.remove()
        await self._process.sweep()
        await bounded(self._pipe.close, 2 * PIPE_PATIENCE)
        await asyncio.wait([removed], timeout=PATIENCE)

    def remnants(self) -> Sequence[str]:
        return self._process.remnants()


def _signal_name(number: signal.Signals | int | None) -> str | None:
    match number:
        case signal.Signals():
            return number.name
        case int():
            return f"signal {number}"
        case None:
            return None
