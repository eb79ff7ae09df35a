"""The daemon: begins, serves until a signal says otherwise, and ends everything in order."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import structlog

from comfysup.adoption import sweep_strays
from comfysup.assembly import Parts, assemble, limits_of
from comfysup.autolaunch import autolaunch
from comfysup.settings import Settings
from comfysup.supervision.fleet import Fleet, Outcome
from comfysup.supervision.life import Ladder
from comfysup.system.process import accept_signals, raise_descriptor_limit
from comfysup.system.run_directory import RunDirectory, RunDirectoryError
from comfysup.web.listening import ListenError, listen

log = structlog.get_logger()

AT_ONCE = Ladder(0.0, 0.0, 1.0)
"""How instances are ended when a second signal comes."""


class DaemonError(Exception):
    """The daemon cannot begin; the text says why."""


class Daemon:
    """One daemon, from its settings to its exit code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told_to_end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, *, end: bool = False) -> int:
        """Serve until a signal says otherwise; return the exit code. Raises `DaemonError`.

        With `end` it goes on with what the last daemon left only to end it.
        """
        if end:
            self._told_to_end.set()
        accept_signals()
        raise_descriptor_limit()
        try:
            return asyncio.run(self._serve())
        except (RunDirectoryError, ListenError) as error:
            raise DaemonError(str(error)) from error

    async def _serve(self) -> int:
        async with AsyncExitStack() as resources:
            run = RunDirectory.take(self._settings.run_dir)
            resources.callback(run.release)
            parts = await assemble(self._settings, run, resources)
            await self._adopt(parts)
            await self._open(parts, run, resources)
            self._autolaunch(parts)
            with self._signals(parts.fleet):
                await self._told_to_end.wait()
                return await self._end(parts)

    async def _adopt(self, parts: Parts) -> None:
        """Go on with the instances of the daemon before this one."""
        records = parts.recalled.state.instances
        for record in records:
            parts.fleet.restore(record)
        if parts.recalled.certain:
            await sweep_strays(parts.identity, records)

    async def _open(self, parts: Parts, run: RunDirectory, resources: AsyncExitStack) -> None:
        """Let callers in."""
        settings = self._settings
        for warning in settings.warnings:
            log.warning("setting.unknown", warning=warning)
        limits = limits_of(settings)
        await listen(parts.app, settings.host, settings.port, run.socket, resources, limits)
        resources.callback(parts.logs.close)  # before the doors are closed: followers get the rest
        log.info("daemon.started", pid=os.getpid(), port=settings.port)
        parts.announcer.daemon("started", parts.facts)

    def _autolaunch(self, parts: Parts) -> None:
        """Start what instances.json names."""
        if self._settings.autolaunch:
            launching = autolaunch(parts.reloader, parts.file)
            self._own(asyncio.create_task(launching, name="autolaunch"))

    async def _end(self, parts: Parts) -> int:
        """End every instance within the shutdown grace; 0 when nothing of them is left."""
        log.info("daemon.stopping", instances=len(list(parts.fleet)))
        parts.announcer.daemon("stopping", parts.facts)
        parts.fleet.close()
        for task in self._tasks:
            task.cancel()
        results = await parts.fleet.stop_all(Ladder.within(self._settings.shutdown_grace))
        left = [
            each.instance.spec.id
            for each in results
            if each.instance and each.outcome is not Outcome.DONE
        ]
        log.info("daemon.stopped", instances_left=left)
        parts.announcer.journal.close()
        if not left:
            parts.keeper.forget_all()
        return 1 if left else 0

    @contextmanager
    def _signals(self, fleet: Fleet) -> Iterator[None]:
        """End on the first SIGTERM or SIGINT, and at once on the second."""

        def told(number: signal.Signals) -> None:
            log.info("daemon.signalled", signal=number.name, again=self._told_to_end.is_set())
            if self._told_to_end.is_set():
                self._own(asyncio.create_task(_stop_at_once(fleet), name="hurry"))
            self._told_to_end.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # one more must not change how it ends

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _stop_at_once(fleet: Fleet) -> None:
    await fleet.stop_all(AT_ONCE)
