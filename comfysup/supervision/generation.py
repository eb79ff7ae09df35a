"""One process of an instance, from its launch to the end of all that descends from it."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from signal import Signals
from typing import TypeAlias

import structlog

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.events import (
    BecameReady,
    Drained,
    Exited,
    Launched,
    LaunchFailed,
    Report,
    TreeGone,
)
from comfysup.supervision.life import KILL_PATIENCE, Exit
from comfysup.supervision.monitor import Health, Monitor
from comfysup.supervision.protocols import (
    Condition,
    InstanceContext,
    LaunchError,
    Process,
    ProcessRecord,
)
from comfysup.supervision.tasks import AGAIN, LONGEST_AGAIN, end_tasks

log = structlog.get_logger()

CALLED_OFF = ("called_off", "called off")
"""Reason and message of a launch that came to nothing, as somebody wished."""

Mailbox: TypeAlias = Callable[[Report | Exception], None]


class Generation:
    """Acts on one process and reports what becomes of it; decides nothing.

    Everything that it has under way are tasks of its own, which `release` cancels. A defect in one
    of them is reported as the exception that it is.
    """

    def __init__(
        self,
        number: int,
        spec: InstanceSpec,
        context: InstanceContext,
        report: Mailbox,
        changed: Callable[[], None],
    ) -> None:
        """Begin without a process; `spec` is the one that the process goes by.

        `changed` is called when `conditions` or `record` are others than before.
        """
        self.number = number
        self.spec = spec
        self.conditions: tuple[Condition, ...] = ()
        self._changed = changed
        self._context = context
        self._report = report
        self._process: Process | None = None
        self._record: ProcessRecord | None = None  # of a process that is to be taken over
        self._owed: Signals | None = None  # the signal that it gets when it has been taken over
        self._discarded = False
        self._launch: asyncio.Task[Process] | None = None
        self._called_off = False
        self._finding = False  # whether there is a process of a dead daemon
        self._monitor: Monitor | None = None
        self._cancel_watch: Callable[[], object] | None = None
        self._cancel_drain: Callable[[], object] | None = None
        self._cancel_examination: Callable[[], object] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def health(self) -> Health:
        """What the probes of the process found."""
        return self._monitor.health if self._monitor else Health()

    @property
    def record(self) -> ProcessRecord | None:
        """By what the next daemon finds the process."""
        return self._process.record if self._process else self._record

    @property
    def pid(self) -> int | None:
        """The pid of the process, as long as something of that may live."""
        return self.record.pid if self.record else None

    @property
    def remnants(self) -> tuple[str, ...]:
        """What lives of the process, by name, as far as known."""
        if self._process:
            return tuple(self._process.remnants())
        return (f"pid {self._record.pid}",) if self._record else ()

    # ---- the beginning

    def launch(self) -> None:
        """Make the process; reports `Launched` or `LaunchFailed`, and later `Exited`."""
        launch = self._context.launcher.launch(self.spec, self.number)
        self._launch = asyncio.create_task(launch, name=f"launch {self.spec.id}")
        self._launch.add_done_callback(self._launch_ended)

    def call_off(self) -> None:
        """Give the launch up if there is no process yet; reports as `launch` does.

        While the process of a dead daemon is looked for, nobody knows whether there is one.
        """
        self._called_off = True
        if self._launch and not self._finding:
            self._launch.cancel()

    def resume_launch(self, *, wanted: bool) -> None:
        """Go on with a launch in which a daemon died; reports as `launch` does.

        Where there is no process, one is made if that is `wanted`.
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
        """Take over the process of a gone daemon; reports `Exited` unless it has `ended`.

        Where that cannot be done now (no descriptors, a file system that takes no FIFO) it is tried
        again: the process lives on meanwhile, and is nobody else's.
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
            self._report(self._launch_failed(*CALLED_OFF))
            return
        match launch.exception():
            case None:
                self._took_place(launch.result())
            case LaunchError() as error:
                self._report(self._launch_failed(error.reason, str(error)))
            case BaseException() as defect:
                self._report_defect(defect)

    def _take_over(self, record: ProcessRecord) -> None:
        self._process = self._context.launcher.adopt(self.spec, self.number, record)
        self._record = None
        if self._owed:
            self._process.signal_group(self._owed)

    async def _held_process(self) -> Process | None:
        """Return the process, once it has been taken over where it is a gone daemon's."""
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
        """Have written down what was not known yet when the process was launched."""
        await process.recorded()
        self._changed()

    def _launch_failed(self, reason: str, message: str) -> LaunchFailed:
        end = Exit(self._context.clock().wall, reason, message)
        return LaunchFailed(self.number, end, random.random())  # noqa: S311 - jitter

    # ---- the middle

    def watch(self, pid: int, policy: Callable[[], Policy], *, ready: bool) -> None:
        """Watch for readiness, unless it is `ready`, then for liveness; reports both."""
        probe = self._context.prober.probe(self.spec, pid)

        def heard(found: Report) -> None:
            if self._monitor is monitor:  # one that is not watched by any more has no say
                self._heard(found)

        self._monitor = monitor = Monitor(
            self.number, probe, policy, self._context.clock, heard, self._context.lost
        )
        self._cancel_watch = self._own(monitor.run(ready=ready))
        if ready:
            self._examine()

    def unwatch(self) -> None:
        """Stop watching, and draining; what was noted is forgotten."""
        for cancel in (self._cancel_drain, self._cancel_watch, self._cancel_examination):
            if cancel:
                cancel()
        self._cancel_drain = self._cancel_watch = self._cancel_examination = None
        self._monitor = None
        self.conditions = ()

    def drain(self) -> None:
        """Keep work away from the process until it has none left; reports `Drained`."""
        self._cancel_drain = self._own(self._drain())

    def note(self, condition: Condition) -> None:
        """Show a condition of the process, once, for as long as that is watched."""
        if self._monitor and condition not in self.conditions:
            self.conditions += (condition,)
            self._changed()

    def _heard(self, report: Report) -> None:
        """Pass on what the monitor reports, and examine a process that has become ready."""
        if isinstance(report, BecameReady):
            self.conditions = ()  # one that re-executed itself in place begins anew
            self._examine()
        self._report(report)

    def _examine(self) -> None:
        """Have the conditions noted that the output of the process tells of."""
        if self._cancel_examination:
            self._cancel_examination()
        if self._process:
            self._cancel_examination = self._own(self._note_conditions(self._process))

    async def _note_conditions(self, process: Process) -> None:
        for condition in await process.conditions():
            self.note(condition)

    async def last_lines(self, count: int) -> Sequence[str]:
        """Return the last lines of the process's output, as far as they are to be had."""
        return await self._process.last_lines(count) if self._process else ()

    def strike_prompt(self) -> None:
        """Count a strike against the prompt that the process is working on."""
        self._context.drainer.strike(self.spec)

    # ---- the end

    def signal(self, number: Signals) -> None:
        """Send a signal to the process and its group, as far as they live."""
        if self._process:
            self._process.signal_group(number)
        elif self._record:
            self._owed = number

    def sweep(self) -> None:
        """Kill what the process left; reports `TreeGone`."""
        self._own(self._sweep())

    async def kill(self) -> bool:
        """Kill all of it, whatever it is in; return whether nothing is left after a while.

        Where something is, the killing goes on, and reports `TreeGone` in the end. So is ended what
        a launch that does not hear its cancellation makes after all.
        """
        self._discarded = True
        if self.record is None:
            return True
        ending = asyncio.create_task(self._end_at_last())
        self._keep(ending)
        await asyncio.wait([ending], timeout=KILL_PATIENCE)
        return ending.done()

    async def release(self) -> None:
        """Cancel all that is under way, and wait for its end by a bound; the process lives on."""
        self.unwatch()
        await end_tasks([*self._tasks, *([self._launch] if self._launch else [])])

    async def _await_end(self, process: Process) -> None:
        ending = await process.ended()
        last = await self._context.drainer.last_prompts(self.spec, ending.exit.log_tail)
        end = replace(ending.exit, prompts=last.ids)
        self._report(Exited(self.number, end, ending.reboot, last.blame))

    async def _await_adopted_end(self) -> None:
        if process := await self._held_process():
            await self._await_end(process)

    async def _end_at_last(self) -> None:
        """Sweep again and again until nothing is left, whatever breaks in that."""
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
        """Run `work` as a task, and return what cancels it."""
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
