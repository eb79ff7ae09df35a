"""Making a process in a thread that may hang in the middle of it, on a disk that does not answer.

A child that waits for its program (or its directory) bears no marker yet and has no pid that
anybody was told, so that it must be found as a child of the thread that makes it.
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
"""Seconds for which the thread of a try that nobody waits for any more is waited for: it makes its
process or undoes it in milliseconds, unless it hangs on a disk."""


class Attempt(Generic[T]):
    """One try to make a process, which either side may end: it is made, or it is abandoned.

    `make` makes it, and `undo` ends what was made when nobody wants it any more; both run in the
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
        """Make it in a thread of the executor, within `patience` seconds.

        Raises what `make` does, and `UnresponsiveError` where the resource does not answer in time.
        Cancelled, it leaves nothing behind; but what is made by then is returned. The future of the
        executor is cancelled with the wait, so that no exception of the thread is left unheard.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def run() -> T:
            try:
                return self.run()
            finally:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(over.set)

        try:
            return await executor.ask(run, resource, patience)
        except asyncio.CancelledError:
            # What it is about to make has a log, and an end in good order, if it is returned.
            with suppress(asyncio.CancelledError):  # a second one must not leave it half done
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
        """Wait for the end of a try that has begun, but not for a disk that does not answer."""
        if self._thread:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLING):
                    await over.wait()

    def run(self) -> T:
        """Make it and return it; raises what `make` does, and OSError when it was abandoned."""
        self._begin()
        made = self._make()
        if not self._keep(made):
            self._undo(made)
            raise _abandoned()
        return made

    def abandon(self) -> T | None:
        """Return what was made, or see to it that nothing is: a child in the making is killed."""
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
    """Kill a child of one of our threads, which may reap it at any moment."""
    with suppress(ProcessLookupError):
        child = open_process(pid)
        try:
            if pid in children_of_thread(thread):  # then the descriptor is that child's
                child.send(signal.SIGKILL)
        finally:
            child.close()


def _abandoned() -> OSError:
    return OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
