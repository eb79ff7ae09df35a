"""What is known of instances beside their lives: their queues, what they use, and their GPUs."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import aiohttp
import structlog

from comfysup.comfyui.command import base_url
from comfysup.comfyui.gpu_memory import HeldMemory, held_memory
from comfysup.comfyui.ledger import PromptNews, Store
from comfysup.comfyui.probe import ComfyProber
from comfysup.comfyui.queues import QueueFacts, Queues, RescuingProber
from comfysup.supervision.events import Notice
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Running
from comfysup.supervision.protocols import Prober
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.disk_threads import DiskThreads
from comfysup.system.gpu import GpuDesk, Nvml
from comfysup.system.listeners import owns_port
from comfysup.system.usage import UsageSampler, Work

log = structlog.get_logger()

GPU_PERIOD = 5.0
"""Seconds between two questions to each instance what it holds of the GPUs, where there are any."""


@dataclass(frozen=True, slots=True)
class InstanceUsage:
    """What an instance uses; 100 per cent are one core."""

    cpu_percent: float
    rss_bytes: int
    processes: int
    gpus: Sequence[HeldMemory]


class Attendance:
    """Looks after all instances that run; a `Drainer`.

    `store` gives the file of each backlog, `life` says which life of the container this is. `tell`
    hears what became of prompts, `changed` that something is shown otherwise now; `instances` are
    asked for whenever all are looked at.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        disk: DiskThreads,
        store: Callable[[int], Store],
        life: str,
        tell: Callable[[Instance, PromptNews], None],
        changed: Callable[[], None],
        instances: Callable[[], Iterable[Instance]],
    ) -> None:
        self.nvml = Nvml()
        self.gpus = GpuDesk(self.nvml.look, disk.ask)
        self._session = session
        self._disk = disk
        self._instances = instances
        self._usage = UsageSampler(self._pids, disk.ask)
        self._held: dict[int, tuple[HeldMemory, ...]] = {}
        self._task: asyncio.Task[None] | None = None

        self.queues = Queues(session, store, life, disk.ask, tell, changed)

    def prober(self) -> Prober:
        """Return what asks instances how they are, and rescues prompts before they are ready."""

        def work_of(pid: int) -> Callable[[], bool]:
            return Work(lambda: self._usage.members(pid)).since_last_call

        busy_of = self.queues.busy_of(work_of)
        return RescuingProber(ComfyProber(self._session, owns_port, busy_of), self.queues)

    def start(self) -> None:
        """Look at all of them again and again, until closed."""
        self._task = asyncio.create_task(self._look(), name="attendance")
        self._task.add_done_callback(_report)

    async def close(self) -> None:
        """Look no more, and have on disk what the next daemon must know."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.queues.close()

    def forget_all(self) -> None:
        """Leave nothing for a next daemon to go on with."""
        self.queues.forget_all()

    async def _look(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._usage.run())
            tasks.create_task(self._ask_for_gpu_memory())

    async def drain(self, spec: InstanceSpec) -> None:
        await self.queues.drain(spec.id)

    # ---- what is known

    def queue(self, instance: Instance) -> QueueFacts | None:
        return self.queues.facts(instance.spec.id)

    def usage(self, instance: Instance) -> InstanceUsage | None:
        run = instance.life.run
        tree = self._usage.of(run.pid) if run else None
        if tree is None:
            return None
        held = self._held.get(instance.spec.id, ())
        return InstanceUsage(tree.cpu_percent, tree.rss_bytes, tree.processes, held)

    # ---- what happens

    def observe(self, instance: Instance, notice: Notice) -> None:
        """Hear what happens to an instance."""
        self.queues.observe(instance, notice)
        if notice in (Notice.EXITED, Notice.REMOVED):
            self._held.pop(instance.spec.id, None)
        if notice in (Notice.STOPPED, Notice.FAILED, Notice.REMOVED):
            self.gpus.release(instance.spec.id)

    def _pids(self) -> dict[int, int]:
        return {each.spec.id: each.life.run.pid for each in self._instances() if each.life.run}

    async def _ask_for_gpu_memory(self) -> None:
        while True:
            if await self._disk.ask(self.nvml.look):
                ready = [each for each in self._instances() if isinstance(each.life.state, Running)]
                await asyncio.gather(*map(self._ask_one, ready))
            await asyncio.sleep(GPU_PERIOD)

    async def _ask_one(self, instance: Instance) -> None:
        number = instance.spec.id
        visible = self.gpus.held.get(number, ())
        held = await held_memory(self._session, base_url(instance.spec), visible)
        if held is not None and isinstance(instance.life.state, Running):
            self._held[number] = held


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (defect := task.exception()):
        log.error("attendance.broke", exc_info=defect)
