"""Observes instances beside their lifecycle: their queues, resource usage and GPUs."""

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
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Running
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.protocols import LastPrompts, Prober
from comfysup.supervision.tasks import end_tasks, keep_going

T = TypeVar("T")

GPU_PERIOD = 5.0
"""Seconds between two queries of each instance's GPU memory, if the machine has GPUs."""


PATIENCE = 2.0
"""Seconds for reading a process in /proc, which may hang for a stuck process."""


class Telemetry:
    """Observes all running instances; implements `Drainer`.

    `storage` stores the backlogs. `tell` receives prompt events, and `changed` is called when a
    shown value changes. `output` returns the output of an instance's process. `instances` returns
    all instances.
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
            """Parse a large queue in a thread that no disk can block."""
            return executors.computing.submit(work, "the parsing of queues")

        def write_out(work: Callable[[], T]) -> Awaitable[T]:
            """Serialize or read a large backlog."""
            return executors.computing.submit(work, "the files of queues")

        def api(url: str) -> ComfyClient:
            return ComfyClient(session, url, parse)

        threads = BacklogThreads(executors.run_directory.submit, write_out)
        self.queues = QueueManager(api, storage, threads, tell, changed, self._look_at, output)

    def prober(self) -> Prober:
        """Return the prober, which also rescues prompts before an instance is ready."""

        def busy_of(_spec: InstanceSpec, pid: int) -> IsBusy:
            work = Work(lambda: self._usage.members(pid))

            async def is_busy() -> bool:
                try:
                    return await self._processes.ask(work.since_last_call, f"/proc/{pid}", PATIENCE)
                except OSError:
                    return True  # unknown, so it counts as busy

            return is_busy

        async def owns(pid: int, port: int) -> bool:
            look = partial(owns_port, pid, port)
            return await self._processes.ask(look, f"/proc/{pid}", PATIENCE)

        return RescuingProber(ComfyProber(self._session, owns, busy_of), self.queues)

    def start(self, report: Report) -> None:
        """Start the periodic sampling until `close`; `report` receives its exceptions."""
        loops = {"the usage of instances": self._usage.run, "GPU memory": self._watch_gpu_memory}
        self._loops = [
            asyncio.create_task(keep_going(loop, name, partial(report, Path(name))), name=name)
            for name, loop in loops.items()
        ]

    async def close(self) -> None:
        """Stop sampling, and write the state that the next daemon needs."""
        await end_tasks(self._loops)
        await self.queues.close()

    def forget_all(self) -> None:
        """Remove the stored queues, so that a next daemon does not resume them."""
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
        """Return a function that samples the threads of a process."""
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

    # ---- observed values

    def queue(self, instance: Instance) -> QueueFacts | None:
        return self.queues.facts(instance.spec.id)

    def usage(self, instance: Instance) -> Usage | None:
        run = instance.life.run
        tree = self._usage.of(run.pid) if run else None
        if tree is None:
            return None
        return replace(tree, gpus=self._held.get(instance.spec.id, ()))

    # ---- events

    def restored(self) -> None:
        """Resume the queues of the restored instances."""
        self.queues.restored(self._instances())

    def mend(self) -> None:
        """Rewrite removed files of queues."""
        self.queues.mend()

    def observe(self, instance: Instance, notice: LifecycleEvent) -> None:
        """Process an event of an instance."""
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
            with suppress(UnresponsiveError):  # launches use the driver too
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
