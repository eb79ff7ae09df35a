"""Spawns a process in a thread, which a disk that does not answer can block.

A child that waits for its program or directory has no marker yet, and its pid is known to no other
thread. It is found as a child of the spawning thread.
"""

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.linux.process.handle import open_process
from comfysup.linux.process.proc import children_of_thread

T = TypeVar("T")

SETTLING = 1.0
"""Seconds to wait for the thread of an abandoned attempt.

It spawns or undoes its process within milliseconds unless a disk hangs.
"""


class Attempt(Generic[T]):
    """One attempt to spawn a process, which ends with the process made or the attempt abandoned.

    `make` spawns the process. `undo` ends a process that is no longer wanted. Both run in the
    thread that calls `run`.
    """

    def __init__(self, make: Callable[[], T], undo: Callable[[T], None]) -> None:
        self._make = make
        self._undo = undo
        self._lock = threading.Lock()
        self._made: T | None = None
        self._abandoned = False
        self._thread = 0
        self._earlier: frozenset[int] = frozenset()

    async def carry_out(self, executor: Executor, resource: str, patience: float) -> T:
        """Run `make` in a thread of the executor and return its result, within `patience` seconds.

        Raises what `make` raises, and `UnresponsiveError` if the resource does not answer in time.
        If the task is cancelled, a process that was made by then is returned and any other is
        killed. The executor's future is cancelled with the wait, so no exception of the thread is
        left unretrieved.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def run() -> T:
            try:
                return self.run()
            finally:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(over.set)

        try:
            return await executor.ask(run, resource, patience)
        except asyncio.CancelledError:
            # A process that is returned gets its log and an orderly stop.
            with suppress(asyncio.CancelledError):  # a second cancellation must not interrupt this
                await self._settle(over)
            if there := self.abandon():
                return there
            raise
        except UnresponsiveError:
            if there := self.abandon():
                return there
            await self._settle(over)
            raise

    async def _settle(self, over: asyncio.Event) -> None:
        """Wait for a started attempt to end, for at most `SETTLING` seconds."""
        if self._thread:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLING):
                    await over.wait()

    def run(self) -> T:
        """Return the process of `make`. Raises what `make` raises, and OSError if abandoned."""
        self._begin()
        made = self._make()
        if not self._keep(made):
            self._undo(made)
            raise _abandoned()
        return made

    def abandon(self) -> T | None:
        """Return the process if it was made. Otherwise abandon the attempt and kill its child."""
        with self._lock:
            if self._made is None and not self._abandoned:
                self._abandoned = True
                for pid in self._in_the_making():
                    _kill_child(self._thread, pid)
            return self._made

    def _begin(self) -> None:
        with self._lock:
            if self._abandoned:
                raise _abandoned()
            self._thread = threading.get_native_id()
            self._earlier = frozenset(children_of_thread(self._thread))

    def _keep(self, made: T) -> bool:
        with self._lock:
            self._made = None if self._abandoned else made
            return not self._abandoned

    def _in_the_making(self) -> frozenset[int]:
        if not self._thread:
            return frozenset()
        return frozenset(children_of_thread(self._thread)) - self._earlier


def _kill_child(thread: int, pid: int) -> None:
    """Kill a child of one of this process' threads, which may reap it at any moment."""
    with suppress(ProcessLookupError):
        child = open_process(pid)
        try:
            if pid in children_of_thread(thread):  # the pidfd is then that child's
                child.send(signal.SIGKILL)
        finally:
            child.close()


def _abandoned() -> OSError:
    return OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
