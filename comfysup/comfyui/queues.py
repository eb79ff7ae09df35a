"""The queues of all instances: who is watched, and what follows from what happens to them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import aiohttp
import structlog

from comfysup.comfyui.backlog import ENDED, REMOVED
from comfysup.comfyui.backlog import Running as RunningPrompt
from comfysup.comfyui.command import base_url
from comfysup.comfyui.ledger import Ledger, PromptNews, Store
from comfysup.comfyui.queue import QueueWatcher
from comfysup.comfyui.queue_api import InThread, QueueApi
from comfysup.supervision.events import Notice
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Draining, Running
from comfysup.supervision.protocols import Finding, Probe, Prober
from comfysup.supervision.spec import InstanceSpec

log = structlog.get_logger()

RESCUE_PATIENCE = 20.0
"""Seconds for which an instance is not called ready while prompts are handed in; it goes on."""

HasWorked: TypeAlias = Callable[[], bool]
"""Whether a process tree has used CPU or I/O since the last call; looks at /proc."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue of one instance as it was last seen."""

    pending: int
    running_prompts: Sequence[RunningPrompt]


@dataclass(slots=True)
class _Attended:
    """A process that is watched."""

    pid: int
    watcher: QueueWatcher
    task: asyncio.Task[None]


class Queues:
    """Watches the queues of instances that run, and remembers what their processes were given.

    `stores` gives the file of each, `life` says which life of the container this is; `tell` hears
    what became of prompts, `changed` that something here is shown otherwise now.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        stores: Callable[[int], Store],
        life: str,
        in_thread: InThread,
        tell: Callable[[Instance, PromptNews], None],
        changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._stores = stores
        self._life = life
        self._in_thread = in_thread
        self._tell = tell
        self._changed = changed
        self._instances: dict[int, Instance] = {}
        self._ledgers: dict[int, Ledger] = {}
        self._attended: dict[int, _Attended] = {}

    async def load(self, instances: Iterable[int]) -> None:
        """Go on with what an earlier daemon knew of these instances."""
        for number in instances:
            await self._ledger(number).load()

    async def close(self) -> None:
        """Watch no more, and have on disk what is known."""
        for number in list(self._attended):
            self._leave(number)
        await asyncio.gather(*(ledger.close() for ledger in self._ledgers.values()))

    def forget_all(self) -> None:
        """Leave nothing for a next daemon to go on with; what still waits is given up."""
        for ledger in self._ledgers.values():
            ledger.forget(ENDED)

    # ---- what others ask

    def facts(self, number: int) -> QueueFacts | None:
        """Return the queue of an instance; None while nobody watches it."""
        if number not in self._attended:
            return None
        known = self._ledger(number).backlog
        return QueueFacts(len(known.waiting), known.running)

    def busy_of(
        self, work_of: Callable[[int], HasWorked]
    ) -> Callable[[InstanceSpec, int], Callable[[], Awaitable[bool]]]:
        """Return what a `ComfyProber` asks whether a silent process works on a prompt."""

        def busy_of(spec: InstanceSpec, pid: int) -> Callable[[], Awaitable[bool]]:
            has_worked = work_of(pid)

            async def is_busy() -> bool:
                attended = self._attended.get(spec.id)
                if attended is None or not attended.watcher.has_work:
                    return False
                return await self._in_thread(has_worked)

            return is_busy

        return busy_of

    async def drain(self, number: int) -> None:
        """Take out of a queue what waits, and return when nothing runs in it any more."""
        if attended := self._attended.get(number):
            await attended.watcher.drain()

    # ---- what happens

    def observe(self, instance: Instance, notice: Notice) -> None:
        """Hear what happens to an instance."""
        number, life = instance.spec.id, instance.life
        self._instances[number] = instance
        match notice:
            case Notice.EXITED:
                end = life.last_exit
                self._lose(instance.spec, crashed=end is not None and not end.expected)
            case Notice.STARTING if number in self._attended:
                # It is about to end, or executes itself anew: what it had is lost either way, but
                # only its end tells whether by a crash.
                self._leave(number)
                self._ledger(number).belong_to(None)
            case Notice.ADOPTED if life.run and isinstance(life.state, Running | Draining):
                self._attend(instance.record.launched, life.run.pid)
            case Notice.FAILED:
                self._leave(number)
            case Notice.REMOVED:
                self._leave(number)
                self._ledger(number).forget(REMOVED)
                del self._instances[number]
            case _:
                pass

    async def rescue(self, spec: InstanceSpec, pid: int) -> None:
        """Watch a process that has become ready, and wait until it was given what is owed."""
        watcher = self._attend(spec, pid)
        with suppress(TimeoutError):
            await asyncio.wait_for(watcher.rescued.wait(), RESCUE_PATIENCE)

    def _attend(self, spec: InstanceSpec, pid: int) -> QueueWatcher:
        ledger = self._ledger(spec.id)
        if ledger.backlog.pid != pid:
            self._lose(spec, crashed=False)  # nobody has told how the one before it ended
        self._leave(spec.id)
        ledger.belong_to(pid)
        api = QueueApi(self._session, base_url(spec), self._in_thread)
        watcher = QueueWatcher(api, ledger, lambda: spec.policy.probe_period)
        task = asyncio.create_task(watcher.run(), name=f"queue {spec.id}")
        task.add_done_callback(_report)
        self._attended[spec.id] = _Attended(pid, watcher, task)
        return watcher

    def _lose(self, spec: InstanceSpec, *, crashed: bool) -> None:
        self._leave(spec.id)
        self._ledger(spec.id).lost(spec.policy.rescue, crashed=crashed)

    def _leave(self, number: int) -> None:
        if attended := self._attended.pop(number, None):
            attended.task.cancel()
            self._changed()

    def _ledger(self, number: int) -> Ledger:
        if number not in self._ledgers:
            self._ledgers[number] = Ledger(
                self._stores(number),
                self._life,
                self._in_thread,
                partial(self._tell_of, number),
                self._changed,
            )
        return self._ledgers[number]

    def _tell_of(self, number: int, news: PromptNews) -> None:
        if instance := self._instances.get(number):
            self._tell(instance, news)


@dataclass(frozen=True, slots=True)
class RescuingProber:
    """A `Prober` by which a process is not ready before it has the prompts of the last one."""

    prober: Prober
    queues: Queues

    def probe(self, spec: InstanceSpec, pid: int) -> "RescuingProbe":
        return RescuingProbe(self.prober.probe(spec, pid), self.queues, spec, pid)


@dataclass(frozen=True, slots=True)
class RescuingProbe:
    """A `Probe` of one process."""

    probe: Probe
    queues: Queues
    spec: InstanceSpec
    pid: int

    async def until_ready(self) -> None:
        await self.probe.until_ready()
        await self.queues.rescue(self.spec, self.pid)

    async def ask(self, patience: float) -> Finding:
        return await self.probe.ask(patience)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (defect := task.exception()):
        log.error("queue.broke", exc_info=defect)
