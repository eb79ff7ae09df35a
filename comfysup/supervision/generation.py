"""One process of an instance, from its launch to the end of all that descends from it."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from signal import Signals
from typing import TypeAlias

from comfysup.supervision.events import (
    Drained,
    Exited,
    Launched,
    LaunchFailed,
    Report,
    TreeGone,
)
from comfysup.supervision.life import KILL_PATIENCE, Exit
from comfysup.supervision.monitor import Health, Monitor
from comfysup.supervision.protocols import LaunchError, Process, ProcessRecord
from comfysup.supervision.spec import InstanceSpec, Policy
from comfysup.supervision.world import World

Mailbox: TypeAlias = Callable[[Report | Exception], None]


class Generation:
    """Acts on one process and reports what becomes of it; decides nothing.

    Everything that it has under way are tasks of its own, which `release` cancels. A defect in one
    of them is reported as the exception that it is.
    """

    def __init__(self, number: int, spec: InstanceSpec, world: World, report: Mailbox) -> None:
        """Begin without a process; `spec` is the one that the process goes by."""
        self.number = number
        self.spec = spec
        self._world = world
        self._report = report
        self._process: Process | None = None
        self._launch: asyncio.Task[Process] | None = None
        self._monitor: Monitor | None = None
        self._cancel_watch: Callable[[], object] | None = None
        self._cancel_drain: Callable[[], object] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def health(self) -> Health:
        """What the probes of the process found."""
        return self._monitor.health if self._monitor else Health()

    @property
    def record(self) -> ProcessRecord | None:
        """By what the next daemon finds the process."""
        return self._process.record if self._process else None

    # ---- the beginning

    def launch(self) -> None:
        """Make the process; reports `Launched` or `LaunchFailed`, and later `Exited`."""
        launch = self._world.launcher.launch(self.spec, self.number)
        self._launch = asyncio.create_task(launch, name=f"launch {self.spec.id}")
        self._launch.add_done_callback(self._launch_ended)

    def call_off(self) -> None:
        """Give the launch up if there is no process yet; reports as `launch` does."""
        if self._launch:
            self._launch.cancel()

    def resume_launch(self) -> bool:
        """Find the process in whose launch a daemon died; False when there is none."""
        record = self._world.launcher.find(self.spec, self.number)
        if record is None:
            return False
        self._took_place(self._world.launcher.adopt(self.spec, self.number, record))
        return True

    def fail_launch(self) -> None:
        """Report that the launch came to nothing, as somebody wished."""
        self._report(self._launch_failed("called_off", "called off"))

    def adopt(self, record: ProcessRecord, *, ended: bool) -> None:
        """Take over the process of a gone daemon; reports `Exited` unless it has `ended`."""
        self._process = self._world.launcher.adopt(self.spec, self.number, record)
        if not ended:
            self._own(self._await_end(self._process))

    def _launch_ended(self, launch: asyncio.Task[Process]) -> None:
        self._launch = None
        if launch.cancelled():
            self.fail_launch()
            return
        match launch.exception():
            case None:
                self._took_place(launch.result())
            case LaunchError() as error:
                self._report(self._launch_failed(error.reason, str(error)))
            case BaseException() as defect:
                self._report_defect(defect)

    def _took_place(self, process: Process) -> None:
        self._process = process
        self._report(Launched(self.number, process.pid))
        self._own(self._await_end(process))

    def _launch_failed(self, reason: str, message: str) -> LaunchFailed:
        end = Exit(self._world.clock().wall, reason, message)
        return LaunchFailed(self.number, end, random.random())  # noqa: S311 - jitter

    # ---- the middle

    def watch(self, pid: int, policy: Callable[[], Policy], *, ready: bool) -> None:
        """Watch for readiness, unless it is `ready`, then for liveness; reports both."""
        probe = self._world.prober.probe(self.spec, pid)
        self._monitor = Monitor(self.number, probe, policy, self._world.clock, self._report)
        self._cancel_watch = self._own(self._monitor.run(ready=ready))

    def unwatch(self) -> None:
        """Stop watching, and draining."""
        if self._cancel_drain:
            self._cancel_drain()
        if self._cancel_watch:
            self._cancel_watch()
        self._cancel_drain = self._cancel_watch = self._monitor = None

    def drain(self) -> None:
        """Keep work away from the process until it has none left; reports `Drained`."""
        self._cancel_drain = self._own(self._drain())

    # ---- the end

    def signal(self, number: Signals) -> None:
        """Send a signal to the process and its group, as far as they live."""
        if self._process:
            self._process.signal_group(number)

    def sweep(self) -> None:
        """Kill what the process left; reports `TreeGone`."""
        self._own(self._sweep())

    async def kill(self) -> None:
        """Kill all of it, whatever it is in; raises TimeoutError when that takes too long."""
        if self._process:
            await asyncio.wait_for(self._process.sweep(), KILL_PATIENCE)

    async def release(self) -> None:
        """Cancel all that is under way; the process lives on."""
        self.unwatch()
        tasks = {*self._tasks, *({self._launch} if self._launch else ())}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _await_end(self, process: Process) -> None:
        ending = await process.ended()
        self._report(Exited(self.number, ending.exit, reboot=ending.reboot))

    async def _drain(self) -> None:
        await self._world.drainer.drain(self.spec)
        self._report(Drained(self.number))

    async def _sweep(self) -> None:
        if self._process:
            await self._process.sweep()
            self._process = None
        self._report(TreeGone(self.number, random.random()))  # noqa: S311 - jitter

    # ---- tasks

    def _own(self, work: Coroutine[None, None, None]) -> Callable[[], object]:
        """Run `work` as a task, and return what cancels it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task.cancel

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            self._report_defect(defect)

    def _report_defect(self, defect: BaseException) -> None:
        self._report(defect if isinstance(defect, Exception) else RuntimeError(repr(defect)))
