"""The queues of all instances: which are watched, and how changes are handled."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from comfysup.comfyui.client import ComfyClient
from comfysup.comfyui.command import base_url
from comfysup.comfyui.output import (
    EXECUTED,
    PROMPT,
    Output,
    executions_in,
    unfinished_in,
    untold_end,
)
from comfysup.comfyui.queue.backlog_store import BacklogStore, BacklogThreads, Storage
from comfysup.comfyui.queue.given_up import ENDED, REMOVED
from comfysup.comfyui.queue.watcher import QueueWatcher
from comfysup.comfyui.worker import LookAgain, Sign, Worker, tells_of_its_end
from comfysup.model.observed import ActivePrompt, PromptEvent, QueueFacts
from comfysup.model.spec import InstanceSpec, Rescue
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Draining, Running
from comfysup.supervision.lifecycle_events import Blame, LifecycleEvent
from comfysup.supervision.protocols import LastPrompts

log = structlog.get_logger()

LINES = 200
"""Number of last lines of a process that are searched for the end of its worker."""
LOAD_PATIENCE = 30.0
"""Maximum seconds to wait for all files of an earlier daemon together."""
RESCUE_PATIENCE = 20.0
"""Maximum seconds for which resubmission delays readiness; the rest follow later."""


@dataclass(slots=True)
class _Attended:
    """A watched process. `frames` is the watcher's count at the last sign of the `worker`."""

    pid: int
    watcher: QueueWatcher
    look: LookAgain
    worker: Worker
    frames: int = 0
    task: asyncio.Task[None] = field(init=False)


class QueueManager:
    """Watches the queues of running instances, and keeps the backlogs of all.

    `api` returns the client of the ComfyUI at a url. `tell` receives the events of prompts, and
    `changed` is called when `facts` may have changed. `look_at` returns the examination of a
    process's threads, and `output` the output of an instance.
    """

    def __init__(
        self,
        api: Callable[[str], ComfyClient],
        storage: Storage,
        threads: BacklogThreads,
        tell: Callable[[Instance, PromptEvent], None],
        changed: Callable[[], None],
        look_at: Callable[[int], LookAgain],
        output: Callable[[int], Output],
    ) -> None:
        self._api = api
        self._look_at = look_at
        self._output = output
        self._storage = storage
        self._threads = threads
        self._tell = tell
        self._changed = changed
        self._instances: dict[int, Instance] = {}
        self._backlog_stores: dict[int, BacklogStore] = {}
        self._attended: dict[int, _Attended] = {}
        self._inherited: set[int] = set()  # backlogs that may predate the end of a process

    async def load(self, instances: Iterable[int]) -> None:
        """Load what an earlier daemon knew of these instances. Call `restored` afterwards."""
        give_up_at = time.monotonic() + LOAD_PATIENCE
        for number in instances:
            await self._backlog_store(number).load(give_up_at)
            self._inherited.add(number)

    def restored(self, instances: Iterable[Instance]) -> None:
        """Record the exits that an earlier daemon saw but did not write to the queue files.

        It may have died in between, because the state file is written first.
        """
        for instance in instances:
            self._instances[instance.spec.id] = instance
            self._lose_untold(instance)
        self._inherited.clear()

    async def close(self) -> None:
        """Stop watching, and write the backlogs to disk."""
        for number in list(self._attended):
            self._leave(number)
        await asyncio.gather(
            *(backlog_store.close() for backlog_store in self._backlog_stores.values())
        )

    def forget_all(self) -> None:
        """Remove the backlogs, so that a later daemon finds none; waiting prompts are given up."""
        for backlog_store in self._backlog_stores.values():
            backlog_store.forget(ENDED)

    def mend(self) -> None:
        """Write removed files again."""
        for backlog_store in self._backlog_stores.values():
            backlog_store.mend()

    # ---- queries

    def facts(self, number: int) -> QueueFacts | None:
        """Return the queue of an instance, or None while it is unknown."""
        attended = self._attended.get(number)
        if attended is None or not attended.watcher.is_known:
            return None
        known = self._backlog_store(number).backlog
        running = tuple(ActivePrompt(each.id, each.since) for each in known.running)
        return QueueFacts(len(known.waiting), running)

    async def drain(self, number: int) -> None:
        """Remove all waiting prompts from a queue and return when none runs."""
        if attended := self._attended.get(number):
            await attended.watcher.drain()

    def probed(self, number: int, *, answered: bool) -> None:
        """Record that a probe of an instance was sent (`answered` False) or answered."""
        if attended := self._attended.get(number):
            attended.watcher.probed(answered=answered)

    async def examine(self, number: int) -> None:
        """Check how the last prompts of an instance ended; call this after it has answered."""
        if attended := self._attended.get(number):
            condition = await attended.watcher.condition()
            if condition is not None and (instance := self._instances.get(number)):
                instance.note(condition)

    async def worker_has_died(self, number: int) -> bool:
        """Return whether the worker of an instance has died; call this after it has answered."""
        attended = self._attended.get(number)
        if attended is None:
            return False
        backlog = self._backlog_store(number).backlog
        if not backlog.depth and not attended.worker.is_outdated(time.monotonic()):
            return False
        look = await attended.look()
        if not attended.watcher.is_known:
            attended.worker = attended.worker.interrupted()
            return False
        backlog = self._backlog_store(number).backlog
        sign = Sign(
            time.monotonic(),
            backlog.running[0].id if backlog.running else None,
            len(backlog.waiting),
            look.threads,
            progress=look.worked or attended.watcher.frames != attended.frames,
        )
        attended.frames = attended.watcher.frames
        attended.worker = attended.worker.after(sign)
        if not attended.worker.is_suspect:
            return False
        instance = self._instances.get(number)
        lines = await instance.last_lines(LINES) if instance else ()
        return attended.worker.has_died(logged=tells_of_its_end(lines))

    def fell_silent(self, number: int) -> None:
        """Record that an instance did not answer a probe."""
        if attended := self._attended.get(number):
            attended.worker = attended.worker.interrupted()

    def strike(self, number: int) -> None:
        """Count a strike against the running prompt, which outlasted the time for a drain."""
        backlog_store = self._backlog_store(number)
        backlog_store.update(replace(backlog_store.backlog, overdue=True))

    def choose(self, number: int, rescue: Rescue, *, at_end: bool) -> None:
        """Apply a caller's choice of prompts to rescue; see `Drainer`."""
        self._backlog_store(number).choose(rescue, at_end=at_end)

    async def last_prompts(self, number: int, lines: Sequence[str]) -> LastPrompts:
        """Return the prompts that an exited process was executing.

        Its output shows which prompts ended after the last read of the queue, and how many had been
        accepted if that read showed an empty queue or the queue was unknown at the end.
        """
        backlog_store = self._backlog_store(number)
        if attended := self._attended.get(number):
            await attended.watcher.hear_out()
        if (running := backlog_store.backlog.running) and running[0].mark:
            ended = await self._output(number).lines_with(EXECUTED, running[0].mark)
            backlog_store.update(backlog_store.backlog.executed(executions_in(ended)))
        if attended and not attended.watcher.is_known:
            backlog_store.update(backlog_store.backlog.logged(unfinished_in(lines)))
        elif attended and attended.watcher.idle_mark and not backlog_store.backlog.depth:
            since = await self._output(number).lines_with(PROMPT, attended.watcher.idle_mark)
            backlog_store.update(backlog_store.backlog.logged(unfinished_in(since)))
        backlog = backlog_store.backlog
        prompt_id = backlog.at_work(crashed=True)
        if prompt_id is None and not backlog.unseen:
            return LastPrompts()
        ids = () if prompt_id is None else (prompt_id,)
        return LastPrompts(ids, Blame.CERTAIN if backlog.worked else Blame.LIKELY)

    # ---- events

    def observe(self, instance: Instance, notice: LifecycleEvent) -> None:
        """Handle an event of an instance."""
        number, life = instance.spec.id, instance.life
        self._instances[number] = instance
        attended = self._attended.get(number)
        match notice:
            case LifecycleEvent.EXITED:
                end = life.last_exit
                self._lose(instance.spec, crashed=end is not None and not end.expected)
            case LifecycleEvent.STOPPING if attended and attended.watcher.is_silent:
                backlog_store = self._backlog_store(number)
                backlog_store.update(replace(backlog_store.backlog, silent=True))
            case LifecycleEvent.STARTING if attended:
                # The process exits, or replaces itself by execve: its prompts are lost either way,
                # but only its exit status shows whether by a crash.
                self._leave(number)
                self._backlog_store(number).belong_to(None)
            case LifecycleEvent.ADOPTED if life.run and isinstance(life.state, Running | Draining):
                look = self._look_at(life.run.pid)
                self._attend(instance.record.launched, life.run.pid, look, Worker())
            case LifecycleEvent.FAILED:
                self._leave(number)
            case LifecycleEvent.REMOVED:
                self._leave(number)
                self._backlog_store(number).forget(REMOVED)
                del self._instances[number]
            case _:
                pass

    async def rescue(self, spec: InstanceSpec, pid: int) -> None:
        """Watch a process that has become ready, and wait until owed prompts are resubmitted."""
        look = self._look_at(pid)
        threads = (await look()).threads
        watcher = self._attend(spec, pid, look, Worker.of_ready(threads))
        with suppress(TimeoutError):
            async with asyncio.timeout(RESCUE_PATIENCE):
                await watcher.rescued.wait()

    def _attend(
        self, spec: InstanceSpec, pid: int, look: LookAgain, worker: Worker
    ) -> QueueWatcher:
        backlog_store = self._backlog_store(spec.id)
        if instance := self._instances.get(spec.id):
            self._lose_untold(instance)
        if backlog_store.backlog.pid != pid:
            self._lose(spec, crashed=False)  # how the previous process ended is unknown
        self._leave(spec.id)
        backlog_store.belong_to(pid)
        watcher = QueueWatcher(
            self._api(base_url(spec)),
            backlog_store,
            lambda: spec.policy.probe_period,
            mark=self._output(spec.id).mark,
        )
        attended = _Attended(pid, watcher, look, worker)
        attended.task = asyncio.create_task(
            self._watch(attended, backlog_store), name=f"queue {spec.id}"
        )
        attended.task.add_done_callback(partial(self._watching_ended, spec.id))
        self._attended[spec.id] = attended
        return watcher

    async def _watch(self, attended: _Attended, backlog_store: BacklogStore) -> None:
        """Watch a process, after reading the threads of one that was adopted."""
        if attended.worker.seen is None:
            running = next((each.id for each in backlog_store.backlog.running), None)
            attended.worker = Worker.of_adopted((await attended.look()).threads, running)
        await attended.watcher.run()

    def _watching_ended(self, number: int, task: asyncio.Task[None]) -> None:
        """Stop reporting a queue if a bug ended its watcher."""
        if task.cancelled() or not (defect := task.exception()):
            return
        log.error("queue.broke", instance=number, exc_info=defect)
        attended = self._attended.get(number)
        if attended is not None and attended.task is task:
            self._leave(number)

    def _lose(self, spec: InstanceSpec, *, crashed: bool, ran: str | None = None) -> None:
        self._leave(spec.id)
        self._inherited.discard(spec.id)
        self._backlog_store(spec.id).lost(spec.policy.rescue, crashed=crashed, ran=ran)

    def _lose_untold(self, instance: Instance) -> None:
        """Record an exit that an earlier daemon knew of but did not write to the queue file."""
        number = instance.spec.id
        if number in self._inherited:
            end = untold_end(self._backlog_store(number).backlog, instance.life)
            if end is not None:
                self._lose(instance.spec, crashed=end.crashed, ran=end.ran)

    def _leave(self, number: int) -> None:
        if attended := self._attended.pop(number, None):
            attended.task.cancel()
            self._changed()

    def _backlog_store(self, number: int) -> BacklogStore:
        if number not in self._backlog_stores:
            self._backlog_stores[number] = BacklogStore(
                self._storage.store(number),
                self._storage.life,
                self._threads,
                partial(self._tell_of, number),
                self._changed,
            )
        return self._backlog_stores[number]

    def _tell_of(self, number: int, news: PromptEvent) -> None:
        if instance := self._instances.get(number):
            self._tell(instance, news)
