"""The daemon: starts, serves until a signal arrives, and shuts down in order."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from pathlib import Path
from types import FrameType

import structlog

from comfysup.api.server.connections import Caller
from comfysup.api.server.listening import Inherited, ListenError, Listening, listen
from comfysup.app.last_settings import remember
from comfysup.app.loop_errors import LoopErrors
from comfysup.app.recovery import sweep
from comfysup.app.restart_check import RestartCheck
from comfysup.app.rundir_monitor import RunDirectoryMonitor
from comfysup.app.state_store import StateStore
from comfysup.app.wiring import Parts, assemble, limits_of
from comfysup.config.settings import Settings
from comfysup.linux.executor import resolver
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.process import descriptors
from comfysup.linux.process.handle import refusal_of_pidfds
from comfysup.linux.process.signals import (
    accept_signals,
    block_signals,
    unblock_signals,
)
from comfysup.linux.rundir.handover import Handover, exec_next_program, receive_handover
from comfysup.linux.rundir.run_directory import RunDirectory, RunDirectoryError
from comfysup.linux.watchdog import end_at_last
from comfysup.supervision.fleet import RELEASE_PATIENCE, Fleet
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.stop_escalation import KILL_PATIENCE, StopEscalation
from comfysup.supervision.tasks import bounded, keep_going, run

log = structlog.get_logger()

LOCK, TCP, OWN, FIFOS = "lock", "tcp", "own", "fifos"
"""The handed-over descriptors: the lock of the run directory, the listening TCP and Unix sockets,
and the instances' FIFOs. An open FIFO keeps its unread output for the next program."""

LAST_RESORT = 60.0
"""Seconds for the cleanup, whose steps all have time limits. After that the process logs the stacks
of all threads and exits. The next daemon adopts the live instances."""

BEHIND = "the state file cannot be written; `comfysup status` says why"

AT_ONCE = StopEscalation(0.0, 0.0, 1.0)
"""The escalation that a second signal applies."""


class DaemonError(Exception):
    """The daemon cannot start; the text states the reason."""


class Order(Enum):
    """An order to the daemon."""

    END = auto()
    RESTART = auto()


class Daemon:
    """One daemon, from its settings to its exit code."""

    def __init__(
        self,
        settings: Settings,
        opened: Callable[[], None] = lambda: None,
        hangup: Order = Order.RESTART,
    ) -> None:
        """Call `opened` once connections are accepted; treat SIGHUP as the order `hangup`."""
        self._settings = settings
        self._opened = opened
        self._hangup = hangup
        self._store: StateStore | None = None
        self._last_event: Callable[[], int] = lambda: 0
        self._unkillable: Callable[[], str | None] = lambda: None
        self._checking: asyncio.Task[list[str]] | None = None
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._told_to_end = False
        self._kept = receive_handover(os.environ)
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, *, end: bool = False) -> int:
        """Serve until an order ends it, and return the exit code. Raises `DaemonError`.

        With `end`, adopt the instances of the last daemon only to stop them. For a restart in
        place, `run` does not return: the process executes the program again.
        """
        if end:
            self._orders.put_nowait(Order.END)
        accept_signals()
        descriptors.raise_limit()
        try:
            code = run(self._serve())
        except (RunDirectoryError, ListenError) as error:
            raise DaemonError(str(error)) from error
        if code is None:
            if self._told_to_end:  # signals are blocked: the next program receives this one
                signal.raise_signal(signal.SIGTERM)
            try:
                exec_next_program(replace(self._kept, last_event=self._last_event()))
            except OSError as error:
                raise DaemonError(f"cannot restart in place: {error}") from error
        return code

    async def _serve(self) -> int | None:
        async with AsyncExitStack() as resources:
            resources.enter_context(self._signals())
            asyncio.get_running_loop().set_default_executor(resolver())
            run = RunDirectory.take(self._settings.run_dir, *self._kept.descriptors.get(LOCK, ()))
            resources.callback(run.release)
            parts = await assemble(
                self._settings, run, self._restart, resources, self._kept.last_event
            )
            asyncio.get_running_loop().set_exception_handler(LoopErrors(parts.troubles.report))
            self._store, self._unkillable = parts.store, parts.unkillable
            self._last_event = lambda: parts.publisher.journal.newest
            await self._adopt(parts)
            await asyncio.sleep(0)  # a resumed launch opens its FIFO in its first step
            for fifo in self._kept.descriptors.get(FIFOS, ()):
                os.close(fifo)
            doors = await self._open(parts, run, resources)
            self._own(asyncio.create_task(parts.autolaunch(), name="autolaunch"))
            while await self._orders.get() is Order.RESTART:
                if parts.store.is_behind:  # since the check
                    log.error("daemon.restart_refused", reason=BEHIND)
                    continue
                if reason := parts.unkillable():
                    log.error("daemon.restart_refused", reason=reason)
                    continue
                end_at_last(LAST_RESORT)
                await self._hand_over(parts, run, doors)
                return None
            code = await self._end(parts)
            end_at_last(LAST_RESORT)
            return code

    async def _adopt(self, parts: Parts) -> None:
        """Restore the instances of the previous daemon."""
        for record in parts.recovered.state.instances:
            parts.fleet.restore(record)
        parts.telemetry.restored()
        began = parts.attention.begin()
        if parts.recovered.at is not None:  # the steps since then are a gap too
            parts.fleet.lose_time(began.monotonic - parts.recovered.at)
        await sweep(parts.recovered.strays, parts.sweeps)

    async def _open(self, parts: Parts, run: RunDirectory, resources: AsyncExitStack) -> Listening:
        """Accept connections."""
        settings = self._settings
        for warning in settings.warnings:
            log.warning("setting.ignored", warning=warning)
        for mistake in settings.mistakes:
            log.error("setting.wrong", mistake=mistake, instead="the last good settings")
        if settings.unprotected:
            log.warning("api.unprotected", host=settings.host, remedy="set COMFYSUP_TOKEN")
        doors = await listen(
            parts.app,
            settings.host,
            settings.port,
            run.socket,
            resources,
            limits_of(settings),
            self._inherited(),
        )
        resources.callback(parts.logs.close)  # before the doors are closed: followers get the rest
        if reason := refusal_of_pidfds():
            log.warning("pidfd.refused", reason=reason, instead="processes are polled")
        log.info("daemon.started", pid=os.getpid(), port=settings.port)
        parts.publisher.daemon("started", parts.facts)
        rundir_monitor = RunDirectoryMonitor(
            run, doors, parts.store, parts.troubles, self._remember(parts)
        )
        tell = partial(parts.troubles.report, Path("run directory"))
        watching = keep_going(rundir_monitor.watch, "the watch over the run directory", tell)
        self._own(asyncio.create_task(watching, name="run directory monitor"))
        self._opened()
        return doors

    def _remember(self, parts: Parts) -> Callable[[], None]:
        """Write the settings for the next daemon; return a function that rewrites missing files."""
        life = BootIdentity.current()

        def remember_again() -> None:
            parts.telemetry.mend()
            file = parts.settings_file
            if file.problem is not None or not file.path.exists():
                remember(file, self._settings, life)

        remember(parts.settings_file, self._settings, life)
        return remember_again

    async def _end(self, parts: Parts) -> int:
        """Stop every instance within the shutdown grace; return 0 if no process is left, else 1."""
        log.info("daemon.stopping", instances=len(list(parts.fleet)))
        parts.publisher.daemon("stopping", parts.facts)
        parts.fleet.close()
        self._cancel_tasks()
        hurrying = asyncio.create_task(self._hurry(parts.fleet), name="hurry")
        escalation = StopEscalation.within(self._settings.shutdown_grace)
        with suppress(TimeoutError):
            async with asyncio.timeout(escalation.give_up + 2 * KILL_PATIENCE):
                await parts.fleet.stop_all(escalation)
        hurrying.cancel()
        left = [each.spec.id for each in parts.fleet if each.life.phase is not Phase.STOPPED]
        log.info("daemon.stopped", instances_left=left)
        if not left:
            parts.store.forget_all()
            parts.settings_file.forget()
            parts.telemetry.forget_all()
        parts.publisher.journal.close()
        return 1 if left else 0

    async def _hurry(self, fleet: Fleet) -> None:
        """Stop all instances at once when a second signal arrives."""
        while await self._orders.get() is not Order.END:
            continue
        await fleet.stop_all(AT_ONCE)

    # ---- restart in place

    async def _restart(self) -> None:
        """Order a restart in place, after checking that the next program can take over.

        Raises `RefusedError`, with the reasons, when it cannot; nothing has changed then.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_restart(), name="restart check")
        checking = self._checking
        await asyncio.wait([checking])
        if checking.cancelled():
            reason = "cannot restart in place: the daemon is shutting down"
            raise RefusedError("shutting_down", reason)
        if reasons := checking.result():
            raise RefusedError("restart_refused", f"cannot restart in place: {'; '.join(reasons)}")
        self._orders.put_nowait(Order.RESTART)

    async def _check_restart(self) -> list[str]:
        """Return and log all reasons against a restart."""
        reasons = await RestartCheck().run(os.environ)
        if self._store is not None:
            self._store.write()
            if self._store.is_behind:
                reasons.append(BEHIND)
        if reason := self._unkillable():
            reasons.append(reason)
        if reasons:
            log.error("daemon.restart_refused", reasons=reasons)
        return reasons

    async def _restart_for_signal(self) -> None:
        with suppress(RefusedError):  # already logged
            await self._restart()

    def _cancel_tasks(self) -> None:
        for task in (*self._tasks, *filter(None, [self._checking])):
            task.cancel()

    async def _hand_over(self, parts: Parts, run: RunDirectory, doors: Listening) -> None:
        """End the callers' waits, and keep open the descriptors that the next program needs."""
        log.info("daemon.restarting", instances=len(list(parts.fleet)))
        block_signals()
        self._cancel_tasks()
        parts.fleet.dismiss()
        parts.publisher.daemon("stopping", parts.facts)
        parts.publisher.journal.close()
        parts.logs.close()
        passed_on = await doors.pass_on(parts.fleet.dismiss)
        # Before the FIFOs are held: a pending launch may still create a process and its FIFO.
        await bounded(parts.fleet.release, 2 * RELEASE_PATIENCE)
        self._kept = Handover(
            {
                LOCK: run.keep_lock(),
                TCP: passed_on.tcp,
                OWN: passed_on.own,
                FIFOS: run.hold_fifos(),
            },
            {
                TCP: [(each.descriptor, each.begun) for each in passed_on.tcp_callers],
                OWN: [(each.descriptor, each.begun) for each in passed_on.own_callers],
            },
        )

    def _inherited(self) -> Inherited | None:
        if not self._kept:
            return None
        callers = {
            name: [Caller(*each) for each in self._kept.callers.get(name, ())]
            for name in (TCP, OWN)
        }
        descriptors = self._kept.descriptors
        return Inherited(descriptors[TCP], descriptors[OWN], callers[TCP], callers[OWN])

    # ---- signals and tasks

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Treat SIGTERM and SIGINT as an order to end, SIGHUP as an order to restart in place."""
        orders = {signal.SIGTERM: Order.END, signal.SIGINT: Order.END, signal.SIGHUP: self._hangup}
        loop = asyncio.get_running_loop()

        def told(number: signal.Signals) -> None:
            log.info("daemon.signalled", signal=number.name)
            if orders[number] is Order.END:
                self._orders.put_nowait(Order.END)
            else:
                self._own(asyncio.create_task(self._restart_for_signal(), name="restart"))

        def heard(number: int, _frame: FrameType | None) -> None:
            if orders[signal.Signals(number)] is Order.END:
                self._told_to_end = True
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(told, signal.Signals(number))

        # The event loop removes its own handlers when it closes. A signal that a thread has
        # received and the loop has not read is then lost. These handlers stay until the next
        # program starts. asyncio's handler of SIGCHLD makes every signal wake the loop.
        for number in orders:
            signal.signal(number, heard)
        unblock_signals()
        try:
            yield
        finally:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            for number in orders:
                if number not in blocked:  # else the next program receives the signal
                    signal.signal(number, signal.SIG_IGN)  # another signal must not change the exit

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            log.error("task.broke", task=task.get_name(), exc_info=defect)
