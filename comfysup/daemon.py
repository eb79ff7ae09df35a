"""The daemon: begins, serves until a signal says otherwise, and ends everything in order."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from enum import Enum, auto

import structlog

from comfysup.adoption import sweep_strays
from comfysup.assembly import Parts, assemble, limits_of
from comfysup.settings import Settings
from comfysup.supervision.fleet import Fleet, Outcome
from comfysup.supervision.life import Ladder
from comfysup.system.handover import become_anew, received
from comfysup.system.process import raise_descriptor_limit
from comfysup.system.run_directory import RunDirectory, RunDirectoryError
from comfysup.system.signals import accept_signals, block_signals, unblock_signals
from comfysup.web.listening import Inherited, ListenError, Listening, listen

log = structlog.get_logger()

LOCK = "lock"
"""What the lock of the run directory is called among all that a daemon hands on."""

AT_ONCE = Ladder(0.0, 0.0, 1.0)
"""How instances are ended when a second signal comes."""


class DaemonError(Exception):
    """The daemon cannot begin; the text says why."""


class Order(Enum):
    """What a daemon is told."""

    END = auto()
    RESTART = auto()


class Daemon:
    """One daemon, from its settings to its exit code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._kept = received(os.environ)
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, *, end: bool = False) -> int:
        """Serve until a signal says otherwise; return the exit code. Raises `DaemonError`.

        With `end` it goes on with what the last daemon left only to end it. Told to restart, it
        does not return: this process begins anew.
        """
        if end:
            self._orders.put_nowait(Order.END)
        accept_signals()
        raise_descriptor_limit()
        try:
            code = asyncio.run(self._serve())
        except (RunDirectoryError, ListenError) as error:
            raise DaemonError(str(error)) from error
        if code is None:
            become_anew(self._kept)
        return code

    async def _serve(self) -> int | None:
        async with AsyncExitStack() as resources:
            resources.enter_context(self._signals())
            asyncio.get_running_loop().set_default_executor(
                ThreadPoolExecutor(thread_name_prefix="errand", initializer=block_signals)
            )
            run = RunDirectory.take(self._settings.run_dir, *self._kept.get(LOCK, ()))
            resources.callback(run.release)
            parts = await assemble(self._settings, run, self._restart_soon, resources)
            await self._adopt(parts)
            doors = await self._open(parts, run, resources)
            self._autolaunch(parts)
            while await self._orders.get() is Order.RESTART:
                if parts.keeper.is_behind:
                    log.error("daemon.restart_refused", reason="its state cannot be written")
                    continue
                await self._hand_over(parts, run, doors)
                return None
            return await self._end(parts)

    async def _adopt(self, parts: Parts) -> None:
        """Go on with the instances of the daemon before this one."""
        records = parts.recalled.state.instances
        for record in records:
            parts.fleet.restore(record)
        if parts.recalled.certain:
            await sweep_strays(parts.identity, records)

    async def _open(self, parts: Parts, run: RunDirectory, resources: AsyncExitStack) -> Listening:
        """Let callers in."""
        settings = self._settings
        for warning in settings.warnings:
            log.warning("setting.unknown", warning=warning)
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
        log.info("daemon.started", pid=os.getpid(), port=settings.port)
        parts.announcer.daemon("started", parts.facts)
        return doors

    def _autolaunch(self, parts: Parts) -> None:
        """Start what instances.json names."""
        if self._settings.autolaunch:
            self._own(asyncio.create_task(parts.autolaunch(), name="autolaunch"))

    async def _end(self, parts: Parts) -> int:
        """End every instance within the shutdown grace; 0 when nothing of them is left."""
        log.info("daemon.stopping", instances=len(list(parts.fleet)))
        parts.announcer.daemon("stopping", parts.facts)
        parts.fleet.close()
        for task in self._tasks:
            task.cancel()
        hurrying = asyncio.create_task(self._hurry(parts.fleet), name="hurry")
        results = await parts.fleet.stop_all(Ladder.within(self._settings.shutdown_grace))
        hurrying.cancel()
        left = [
            each.instance.spec.id
            for each in results
            if each.instance and each.outcome is not Outcome.DONE
        ]
        log.info("daemon.stopped", instances_left=left)
        if not left:
            parts.keeper.forget_all()
            parts.attendance.forget_all()
        parts.announcer.journal.close()
        return 1 if left else 0

    async def _hurry(self, fleet: Fleet) -> None:
        """End them at once when told a second time."""
        while await self._orders.get() is not Order.END:
            continue
        await fleet.stop_all(AT_ONCE)

    # ---- starting anew

    def _restart_soon(self) -> None:
        self._orders.put_nowait(Order.RESTART)

    async def _hand_over(self, parts: Parts, run: RunDirectory, doors: Listening) -> None:
        """See every caller off, and keep open what the next program here goes on with."""
        log.info("daemon.restarting", instances=len(list(parts.fleet)))
        block_signals()
        for task in self._tasks:
            task.cancel()
        parts.fleet.dismiss()
        parts.announcer.daemon("stopping", parts.facts)
        parts.announcer.journal.close()
        parts.logs.close()
        self._kept = {LOCK: [run.keep_lock()], **asdict(await doors.pass_on())}
        parts.fleet.dismiss()  # who asked meanwhile, on a connection that was there
        if self._told_to_end():
            signal.raise_signal(signal.SIGTERM)  # blocked: it is the next program that hears it

    def _told_to_end(self) -> bool:
        """Whether one of the orders that wait is to end."""
        waiting = [self._orders.get_nowait() for _ in range(self._orders.qsize())]
        return Order.END in waiting

    def _inherited(self) -> Inherited | None:
        sockets = {name: each for name, each in self._kept.items() if name != LOCK}
        return Inherited(**sockets) if sockets else None

    # ---- signals and tasks

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for an order to end, SIGHUP for one to start anew."""
        orders = {
            signal.SIGTERM: Order.END,
            signal.SIGINT: Order.END,
            signal.SIGHUP: Order.RESTART,
        }

        def told(number: signal.Signals) -> None:
            log.info("daemon.signalled", signal=number.name)
            self._orders.put_nowait(orders[number])

        loop = asyncio.get_running_loop()
        for number in orders:
            loop.add_signal_handler(number, told, number)
        unblock_signals()
        try:
            yield
        finally:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            for number in orders:
                loop.remove_signal_handler(number)
                if number not in blocked:  # then the next program in this process hears it
                    signal.signal(number, signal.SIG_IGN)  # one more must not change how it ends

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
