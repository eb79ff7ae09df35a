"""One process of an instance, from its launch until no descendant of it is left."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from signal import Signals
from typing import TypeAlias

import structlog

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Exit
from comfysup.supervision.lifecycle_events import (
    BecameReady,
    Drained,
    Exited,
    Launched,
    LaunchFailed,
    Report,
    TreeGone,
)
from comfysup.supervision.monitor import Health, Monitor
from comfysup.supervision.protocols import (
    Condition,
    InstanceContext,
    LaunchError,
    Process,
    ProcessRecord,
)
from comfysup.supervision.stop_escalation import KILL_PATIENCE
from comfysup.supervision.tasks import AGAIN, LONGEST_AGAIN, end_tasks

log = structlog.get_logger()

CALLED_OFF = ("called_off", "called off")
"""Reason and message of a launch that a caller cancelled."""

Mailbox: TypeAlias = Callable[[Report | Exception], None]


class Generation:
    """Acts on one process and reports its events; makes no decisions.

    A generation owns the tasks that it starts, and `release` cancels them. An unexpected exception
    in one of them is reported as that exception.
    """

    def __init__(
        self,
        number: int,
        spec: InstanceSpec,
        context: InstanceContext,
        report: Mailbox,
        changed: Callable[[], None],
    ) -> None:
        """Start without a process; `spec` is the spec to launch.

        `changed` is called when `conditions` or `record` changes.
        """
        self.number = number
        self.spec = spec
        self.conditions: tuple[Condition, ...] = ()
        self._changed = changed
        self._context = context
        self._report = report
        self._process: Process | None = None
        self._record: ProcessRecord | None = None  # of a process that is not adopted yet
        self._owed: Signals | None = None  # sent as soon as the process is adopted
        self._discarded = False
        self._launch: asyncio.Task[Process] | None = None
        self._called_off = False
        self._finding = False  # whether a dead daemon left a process
        self._monitor: Monitor | None = None
        self._cancel_watch: Callable[[], object] | None = None
        self._cancel_drain: Callable[[], object] | None = None
        self._cancel_examination: Callable[[], object] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def health(self) -> Health:
        """The results of the probes of the process."""
        return self._monitor.health if self._monitor else Health()

    @property
    def record(self) -> ProcessRecord | None:
        """The record by which the next daemon finds the process."""
        return self._process.record if self._process else self._record

    @property
    def pid(self) -> int | None:
        """The pid of the process while it, or a descendant of it, may live."""
        return self.record.pid if self.record else None

    @property
    def remnants(self) -> tuple[str, ...]:
        """The names of the known live processes of this generation."""
        if self._process:
            return tuple(self._process.remnants())
        return (f"pid {self._record.pid}",) if self._record else ()

    # ---- launch

    def launch(self) -> None:
        """Create the process; reports `Launched` or `LaunchFailed`, and later `Exited`."""
        launch = self._context.launcher.launch(self.spec, self.number)
        self._launch = asyncio.create_task(launch, name=f"launch {self.spec.id}")
        self._launch.add_done_callback(self._launch_ended)

    def call_off(self) -> None:
        """Cancel the launch if no process exists yet; reports as `launch` does.

        While the process of a dead daemon is searched for, whether one exists is unknown. A launch
        is therefore not cancelled then.
        """
        self._called_off = True
        if self._launch and not self._finding:
            self._launch.cancel()

    def resume_launch(self, *, wanted: bool) -> None:
        """Continue a launch during which the daemon died; reports as `launch` does.

        If no process exists, one is created if `wanted`.
        """
        self._called_off, self._finding = not wanted, True
        self._launch = asyncio.create_task(self._find_or_make(), name=f"resume {self.spec.id}")
        self._launch.add_done_callback(self._launch_ended)

    async def _find_or_make(self) -> Process:
        record = await self._context.launcher.find(self.spec, self.number)
        self._finding = False
        if record:
            return self._context.launcher.adopt(self.spec, self.number, record)
        if self._called_off:
            raise LaunchError(*CALLED_OFF)
        return await self._context.launcher.launch(self.spec, self.number)

    def adopt(self, record: ProcessRecord, *, ended: bool) -> None:
        """Adopt a process of an earlier daemon; reports `Exited` unless the process has `ended`.

        A failed adoption (no descriptors left, a file system without FIFOs) is retried. The process
        keeps running meanwhile.
        """
        self._record = record
        try:
            self._take_over(record)
        except OSError as error:
            log.warning("instance.not_adopted", instance=self.spec.id, error=str(error))
        if not ended:
            self._own(self._await_adopted_end())

    def _launch_ended(self, launch: asyncio.Task[Process]) -> None:
        self._launch = None
        if launch.cancelled():
            self._report(self._launch_failed(LaunchError(*CALLED_OFF)))
            return
        match launch.exception():
            case None:
                self._took_place(launch.result())
            case LaunchError() as error:
                self._report(self._launch_failed(error))
            case BaseException() as defect:
                self._report_defect(defect)

    def _take_over(self, record: ProcessRecord) -> None:
        self._process = self._context.launcher.adopt(self.spec, self.number, record)
        self._record = None
        if self._owed:
            self._process.signal_group(self._owed)

    async def _held_process(self) -> Process | None:
        """Return the process; retry its adoption first if that failed."""
        while self._record:
            try:
                self._take_over(self._record)
            except OSError:
                await asyncio.sleep(AGAIN)
        return self._process

    def _took_place(self, process: Process) -> None:
        self._process = process
        if self._discarded:
            self._own(self._end_at_last())
            return
        self._report(Launched(self.number, process.pid))
        self._own(self._await_end(process))
        self._own(self._complete_record(process))

    async def _complete_record(self, process: Process) -> None:
        """Publish the record again once its late fields are known."""
        await process.recorded()
        self._changed()

    def _launch_failed(self, error: LaunchError) -> LaunchFailed:
        end = Exit(self._context.clock().wall, error.reason, str(error), hint=error.hint)
        return LaunchFailed(self.number, end, random.random(), error.transient)  # noqa: S311 - jitter

    # ---- supervision

    def watch(self, pid: int, policy: Callable[[], Policy], *, ready: bool) -> None:
        """Watch for readiness unless already `ready`, then for liveness; reports both."""
        probe = self._context.prober.probe(self.spec, pid)

        def heard(found: Report) -> None:
            if self._monitor is monitor:  # a replaced monitor is ignored
                self._heard(found)

        self._monitor = monitor = Monitor(
            self.number, probe, policy, self._context.clock, heard, self._context.lost
        )
        self._cancel_watch = self._own(monitor.run(ready=ready))
        if ready:
            self._examine()

    def unwatch(self) -> None:
        """Stop watching and draining, and forget the noted conditions."""
        for cancel in (self._cancel_drain, self._cancel_watch, self._cancel_examination):
            if cancel:
                cancel()
        self._cancel_drain = self._cancel_watch = self._cancel_examination = None
        self._monitor = None
        self.conditions = ()

    def drain(self) -> None:
        """Withhold new work until the process has none left; reports `Drained`."""
        self._cancel_drain = self._own(self._drain())

    def note(self, condition: Condition) -> None:
        """Note a condition of the process, once, while the process is watched."""
        if self._monitor and condition not in self.conditions:
            self.conditions += (condition,)
            self._changed()

    def _heard(self, report: Report) -> None:
        """Forward a report of the monitor; examine a process that became ready."""
        if isinstance(report, BecameReady):
            self.conditions = ()  # a process that re-executed itself starts without conditions
            self._examine()
        self._report(report)

    def _examine(self) -> None:
        """Start a task that notes the conditions found in the output of the process."""
        if self._cancel_examination:
            self._cancel_examination()
        if self._process:
            self._cancel_examination = self._own(self._note_conditions(self._process))

    async def _note_conditions(self, process: Process) -> None:
        for condition in await process.conditions():
            self.note(condition)

    async def last_lines(self, count: int) -> Sequence[str]:
        """Return the last lines of the process's output; empty if there is no process."""
        return await self._process.last_lines(count) if self._process else ()

    def strike_prompt(self) -> None:
        """Count a strike against the prompt that the process is executing."""
        self._context.drainer.strike(self.spec)

    # ---- exit

    def signal(self, number: Signals) -> None:
        """Send a signal to the process and its group; without a process, nothing happens."""
        if self._process:
            self._process.signal_group(number)
        elif self._record:
            self._owed = number

    def sweep(self) -> None:
        """Kill the descendants that the process left; reports `TreeGone`."""
        self._own(self._sweep())

    async def kill(self) -> bool:
        """Kill the process tree in any state; return whether it is gone within `KILL_PATIENCE`.

        If it is not gone, the sweep continues and finally reports `TreeGone`. A process that a
        launch creates despite its cancellation is swept too.
        """
        self._discarded = True
        if self.record is None:
            return True
        ending = asyncio.create_task(self._end_at_last())
        self._keep(ending)
        await asyncio.wait([ending], timeout=KILL_PATIENCE)
        return ending.done()

    async def release(self) -> None:
        """Cancel all tasks and wait for them with a timeout; the process keeps running."""
        self.unwatch()
        await end_tasks([*self._tasks, *([self._launch] if self._launch else [])])

    async def _await_end(self, process: Process) -> None:
        end = await process.ended()
        last = await self._context.drainer.last_prompts(self.spec, end.log_tail)
        self._report(Exited(self.number, replace(end, prompts=last.ids), last.blame))

    async def _await_adopted_end(self) -> None:
        if process := await self._held_process():
            await self._await_end(process)

    async def _end_at_last(self) -> None:
        """Retry the sweep, also after exceptions, until nothing is left."""
        pause = AGAIN
        while self.record:
            try:
                await self._sweep_process()
            except Exception:
                log.exception("sweep.broke", instance=self.spec.id, remnants=self.remnants)
                if self._process and not self.remnants:
                    self._process = None
                    break
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_AGAIN)
        self._report(TreeGone(self.number, random.random()))  # noqa: S311 - jitter

    async def _sweep_process(self) -> None:
        if process := await self._held_process():
            await process.sweep()
            self._process = None

    async def _drain(self) -> None:
        await self._context.drainer.drain(self.spec)
        if self._cancel_drain:
            self._report(Drained(self.number))

    async def _sweep(self) -> None:
        await self._sweep_process()
        self._report(TreeGone(self.number, random.random()))  # noqa: S311 - jitter

    # ---- tasks

    def _own(self, work: Coroutine[None, None, None]) -> Callable[[], object]:
        """Run `work` as a task; return the function that cancels it."""
        task = asyncio.create_task(work)
        self._keep(task)
        return task.cancel

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            self._report_defect(defect)

    def _report_defect(self, defect: BaseException) -> None:
        self._report(defect if isinstance(defect, Exception) else RuntimeError(repr(defect)))
