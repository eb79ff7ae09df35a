"""What is known of instances beside their lives: their queues, what they use, and their GPUs."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from comfysup.comfyui.client import ComfyClient, Session
from comfysup.comfyui.command import base_url
from comfysup.comfyui.gpu_memory import held_memory
from comfysup.comfyui.output import Output
from comfysup.comfyui.probe import ComfyProber, IsBusy
from comfysup.comfyui.queue.backlog_store import BacklogThreads, Storage
from comfysup.comfyui.queue.manager import QueueManager
from comfysup.comfyui.queue.rescuing_probe import RescuingProber
from comfysup.comfyui.worker import Look, LookAgain
from comfysup.linux.conditions import Report
from comfysup.linux.executor import Executors, UnresponsiveError
from comfysup.linux.host.gpu import Gpu, GpuAllocator, Nvml
from comfysup.linux.host.gpu_request import Inherited
from comfysup.linux.host.ports import owns_port
from comfysup.linux.host.usage import UsageSampler, Work
from comfysup.linux.process.threads import Threads
from comfysup.model.observed import GpuUsage, PromptEvent, QueueFacts, Usage
from comfysup.model.spec import InstanceSpec, Rescue
from comfysup.supervision.events import LifecycleEvent
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Running
from comfysup.supervision.protocols import LastPrompts, Prober
from comfysup.supervision.tasks import end_tasks, keep_going

T = TypeVar("T")

GPU_PERIOD = 5.0
"""Seconds between two questions to each instance what it holds of the GPUs, where there are any."""


PATIENCE = 2.0
"""Seconds for a look at a process; /proc of one that is stuck may not answer."""


class Telemetry:
    """Looks after all instances that run; a `Drainer`.

    `storage` is where the backlogs are kept. `tell`
    hears what became of prompts, `changed` that something is shown otherwise now; `output` gives
    what the process of each writes; `instances` are asked for whenever all are looked at.
    """

    def __init__(
        self,
        *,
        session: Session,
        executors: Executors,
        storage: Storage,
        tell: Callable[[Instance, PromptEvent], None],
        changed: Callable[[], None],
        output: Callable[[int], Output],
        instances: Callable[[], Iterable[Instance]],
    ) -> None:
        self.nvml = Nvml()
        self.gpus = GpuAllocator(self.nvml.look, executors.driver.submit, Inherited(os.environ))
        self._session = session
        self._driver = executors.driver
        self._processes = executors.processes
        self._instances = instances
        self._usage = UsageSampler(self._pids, executors.processes.submit)
        self._held: dict[int, tuple[GpuUsage, ...]] = {}
        self._loops: list[asyncio.Task[None]] = []

        def parse(work: Callable[[], T]) -> Awaitable[T]:
            """Parse a large queue: what takes long then is no disk."""
            return executors.computing.submit(work, "the parsing of queues")

        def write_out(work: Callable[[], T]) -> Awaitable[T]:
            """Put a large backlog into words, or read one."""
            return executors.computing.submit(work, "the files of queues")

        def api(url: str) -> ComfyClient:
            return ComfyClient(session, url, parse)

        threads = BacklogThreads(executors.run_directory.submit, write_out)
        self.queues = QueueManager(api, storage, threads, tell, changed, self._look_at, output)

    def prober(self) -> Prober:
        """Return what asks instances how they are, and rescues prompts before they are ready."""

        def busy_of(_spec: InstanceSpec, pid: int) -> IsBusy:
            work = Work(lambda: self._usage.members(pid))

            async def is_busy() -> bool:
                try:
                    return await self._processes.ask(work.since_last_call, f"/proc/{pid}", PATIENCE)
                except OSError:
                    return True  # nothing tells that it does not work

            return is_busy

        async def owns(pid: int, port: int) -> bool:
            look = partial(owns_port, pid, port)
            return await self._processes.ask(look, f"/proc/{pid}", PATIENCE)

        return RescuingProber(ComfyProber(self._session, owns, busy_of), self.queues)

    def start(self, report: Report) -> None:
        """Look at all of them again and again, until closed; `report` hears of defects in that."""
        loops = {"the usage of instances": self._usage.run, "GPU memory": self._watch_gpu_memory}
        self._loops = [
            asyncio.create_task(keep_going(loop, name, partial(report, Path(name))), name=name)
            for name, loop in loops.items()
        ]

    async def close(self) -> None:
        """Look no more, and have on disk what the next daemon must know."""
        await end_tasks(self._loops)
        await self.queues.close()

    def forget_all(self) -> None:
        """Leave nothing for a next daemon to go on with."""
        self.queues.forget_all()

    async def drain(self, spec: InstanceSpec) -> None:
        await self.queues.drain(spec.id)

    def strike(self, spec: InstanceSpec) -> None:
        self.queues.strike(spec.id)

    def choose(self, spec: InstanceSpec, rescue: Rescue, *, at_end: bool) -> None:
        self.queues.choose(spec.id, rescue, at_end=at_end)

    async def last_prompts(self, spec: InstanceSpec, lines: Sequence[str]) -> LastPrompts:
        return await self.queues.last_prompts(spec.id, lines)

    def _look_at(self, pid: int) -> LookAgain:
        """Return what looks at the threads of a process."""
        before: Threads | None = None

        async def look() -> Look:
            nonlocal before
            threads: Threads | None = None
            with suppress(OSError):
                threads = await self._processes.ask(
                    partial(Threads.of, pid), f"/proc/{pid}", PATIENCE
                )
            worked = threads is not None and threads.worked_since(before)
            before = threads
            return Look(threads.ids if threads else None, worked)

        return look

    # ---- what is known

    def queue(self, instance: Instance) -> QueueFacts | None:
        return self.queues.facts(instance.spec.id)

    def usage(self, instance: Instance) -> Usage | None:
        run = instance.life.run
        tree = self._usage.of(run.pid) if run else None
        if tree is None:
            return None
        return replace(tree, gpus=self._held.get(instance.spec.id, ()))

    # ---- what happens

    def restored(self) -> None:
        """Hear that the instances of the daemon before this one are there again."""
        self.queues.restored(self._instances())

    def mend(self) -> None:
        """Write anew what somebody has removed of the files of queues."""
        self.queues.mend()

    def observe(self, instance: Instance, notice: LifecycleEvent) -> None:
        """Hear what happens to an instance."""
        self.queues.observe(instance, notice)
        if notice in (LifecycleEvent.EXITED, LifecycleEvent.REMOVED):
            self._held.pop(instance.spec.id, None)
        if notice in (LifecycleEvent.STOPPED, LifecycleEvent.FAILED, LifecycleEvent.REMOVED):
            self.gpus.release(instance.spec.id)

    def _pids(self) -> dict[int, int]:
        return {each.spec.id: each.life.run.pid for each in self._instances() if each.life.run}

    async def _watch_gpu_memory(self) -> None:
        while True:
            gpus: Sequence[Gpu] = ()
            with suppress(UnresponsiveError):  # a launch waits for the driver too
                gpus = await self._driver.submit(self.gpus.look)
            if gpus:
                ready = [each for each in self._instances() if isinstance(each.life.state, Running)]
                await asyncio.gather(*map(self._ask_one, ready))
            await asyncio.sleep(GPU_PERIOD)

    async def _ask_one(self, instance: Instance) -> None:
        number = instance.spec.id
        visible = self.gpus.held.get(number, ())
        held = await held_memory(ComfyClient(self._session, base_url(instance.spec)), visible)
        if held is not None and isinstance(instance.life.state, Running):
            self._held[number] = held
