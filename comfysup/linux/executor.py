"""Threads for what may block: a disk, a driver, a file of a process that is stuck.

One executor for each purpose, and in it a bounded share of threads for each resource: a mount that
does not answer takes the threads of its own share and nobody else's, however long that lasts. A
further call to it fails at once instead of waiting in vain.
"""

import asyncio
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from typing_extensions import override

from comfysup.linux.process.signals import NoThreadError, blocked_signals, start_thread
from comfysup.linux.process.threads import is_unkillable

T = TypeVar("T")


class WorkItem(Generic[T]):
    """Something to be done elsewhere, and the future through which the result comes back.

    It is done also when nobody waits for it any more.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Begin it in the loop; whoever carries it out calls `run` in another thread."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        try:
            result = self._work()
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            self._tell(partial(self._fail, error))
        else:
            self._tell(partial(self._finish, result))

    def _tell(self, settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
            self._loop.call_soon_threadsafe(settle)

    def _finish(self, result: T) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


SHARE: Final = 2
"""Threads that one resource may take."""

SWEEP_SHARE: Final = 16
"""Threads that one sweep may take: each process that does not answer it keeps one."""

MOST: Final = 64
"""Threads of one executor, however many resources do not answer."""

MOST_WAITING: Final = 1024
"""Calls that wait for the threads of one resource; a further one fails at once."""

AGAIN: Final = 0.1
"""Seconds between two tries where memory is lacking."""

STALLED_AFTER: Final = 2.0
"""Seconds after which a call counts as unanswered."""


class UnresponsiveError(OSError):
    """A resource that does not answer; the text names it, and how long it has not."""

    def __init__(self, resource: str, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"{resource} has not answered for {seconds:.0f} s")
        self.resource = resource
        self.seconds = seconds

    @override
    def __str__(self) -> str:
        """Return the sentence without the number of the error."""
        return str(self.strerror)


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    work: Callable[[], T]
    resource: str
    result: asyncio.Future[T]
    began: float = 0.0
    thread: int = 0


@dataclass(slots=True)
class _Share:
    running: list[_Call[Any]] = field(default_factory=list)
    waiting: deque[_Call[Any]] = field(default_factory=deque)


class Executor:
    """Daemon threads for one purpose: a thread that hangs does not hold the end of the process.

    Used in one event loop. `share` is the number of threads that one resource may take; so many,
    or `reserve`, are there from the beginning, in case the kernel makes none later. Calls that
    only compute (`computes`) wait for each other as long as that takes.
    """

    def __init__(
        self,
        purpose: str,
        share: int = SHARE,
        reserve: int | None = None,
        *,
        computes: bool = False,
    ) -> None:
        """Start the first threads; `purpose` names them. Raises `NoThreadError`."""
        self._purpose = purpose
        self._share = share
        self._computes = computes
        self._loop = asyncio.get_running_loop()
        self._shares: dict[str, _Share] = {}
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0
        for _ in range(share if reserve is None else reserve):
            self._add_thread()
            self._idle += 1

    def submit(self, work: Callable[[], T], resource: str = "") -> asyncio.Future[T]:
        """Have `work` done in a thread, after what waits for the resource already.

        Calls that the share of a resource admits run side by side, and which of them comes first
        is chance: a caller that needs an order awaits one before it submits the next.

        `resource` begins the sentence of an error: "/workspace/ComfyUI-comm", "the GPU driver".
        The future raises what `work` raises; `UnresponsiveError` at once where the share of the
        resource is used up by calls that it does not answer; OSError where no thread can be had.
        Work whose future was cancelled before it began is left out.
        """
        call = _Call(work, resource or self._purpose, self._loop.create_future())
        share = self._shares.setdefault(call.resource, _Share())
        if len(share.running) < self._share:
            self._begin(share, call)
        elif self._is_refused(share):
            call.result.set_exception(UnresponsiveError(call.resource, self._age(share)))
        else:
            share.waiting.append(call)
        return call.result

    def do(self, work: Callable[[], object], resource: str = "") -> None:
        """Have something done that nobody waits for, as soon as the resource answers."""
        call = _Call(work, resource or self._purpose, self._loop.create_future())
        call.result.add_done_callback(_let_pass)
        share = self._shares.setdefault(call.resource, _Share())
        if len(share.running) < self._share:
            self._begin(share, call)
        else:
            share.waiting.append(call)

    async def ask(self, work: Callable[[], T], resource: str, patience: float) -> T:
        """Do as `submit` does and wait; raises `UnresponsiveError` after `patience` seconds."""
        began = time.monotonic()
        result = self.submit(work, resource)
        try:
            async with asyncio.timeout(patience):
                return await result
        except TimeoutError:
            raise UnresponsiveError(resource, time.monotonic() - began) from None

    def unanswered(self) -> Iterator[tuple[str, float]]:
        """Yield the resources that have not answered a call for long, and for how many seconds."""
        for resource, share in self._shares.items():
            if (age := self._oldest(share)) > STALLED_AFTER:
                yield resource, age

    def unkillable(self) -> Iterator[str]:
        """Yield the resources for which a thread waits that not even SIGKILL ends."""
        latest = time.monotonic() - STALLED_AFTER  # a disk that works is waited for so as well
        for resource, share in self._shares.items():
            stalled = [call.thread for call in share.running if call.began < latest]
            if any(map(is_unkillable, stalled)):
                yield resource

    def shutdown(self) -> None:
        """Let the threads end when they have done what they have begun; nothing is waited for."""
        self._shares.clear()
        for _ in range(self._threads):
            self._calls.put(None)

    # ---- in the loop

    def _begin(self, share: _Share, call: _Call[Any]) -> None:
        try:
            if self._idle == 0:
                self._add_thread()
                self._idle += 1
        except OSError as error:
            call.result.set_exception(error)
            return
        self._idle -= 1
        call.began = time.monotonic()
        share.running.append(call)
        self._calls.put(call)

    def _add_thread(self) -> None:
        """Start another thread; raises OSError where there cannot be one more."""
        if self._threads >= MOST:
            resource, age = max(self.unanswered(), key=lambda each: each[1], default=("", 0.0))
            raise UnresponsiveError(resource or self._purpose, age)
        start_thread(self._run, f"{self._purpose} {self._threads}")
        self._threads += 1

    def _finished(self, call: _Call[Any], settle: Callable[[], None]) -> None:
        self._idle += 1
        if not call.result.done():
            try:
                settle()
            except TypeError as error:  # a future takes no StopIteration
                call.result.set_exception(RuntimeError(str(error)))
        share = self._shares.get(call.resource)
        if share is None:  # shut down meanwhile
            return
        share.running.remove(call)
        while share.waiting and len(share.running) < self._share:
            following = share.waiting.popleft()
            if not following.result.done():
                self._begin(share, following)
        if not share.running:
            del self._shares[call.resource]

    def _is_refused(self, share: _Share) -> bool:
        """Whether a further call would wait in vain, or with too many others."""
        stalled = not self._computes and self._age(share) > STALLED_AFTER
        return stalled or len(share.waiting) >= MOST_WAITING

    def _age(self, share: _Share) -> float:
        """Return for how long the call has run that began last of those that hold the share."""
        return time.monotonic() - max(call.began for call in share.running)

    def _oldest(self, share: _Share) -> float:
        return time.monotonic() - min((call.began for call in share.running), default=1e99)

    # ---- in the threads

    def _run(self) -> None:
        while call := self._calls.get():
            call.thread = threading.get_native_id()
            settle: Callable[[], None]
            try:
                settle = partial(call.result.set_result, call.work())
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                settle = partial(call.result.set_exception, error)
            except BaseException as error:  # noqa: BLE001 - it must not end a thread, nor the loop
                ended = RuntimeError(f"{call.resource}: {error!r}")
                settle = partial(call.result.set_exception, ended)
            self._pass_on(call, settle)
            del call, settle  # nothing is kept alive by a thread that rests

    def _pass_on(self, call: _Call[Any], settle: Callable[[], None]) -> None:
        """Have the loop settle a call, however long the memory for that is lacking."""
        while True:
            try:
                self._loop.call_soon_threadsafe(self._finished, call, settle)
            except MemoryError:
                time.sleep(AGAIN)
            except RuntimeError:  # the loop has ended, and with it whoever asked
                return
            else:
                return


class Executors:
    """The executors of a daemon, one for each purpose."""

    def __init__(self) -> None:
        """Start their first threads; raises `NoThreadError`."""
        self.environments = Executor("environment")
        self.logs = Executor("logs", 4)
        self.run_directory = Executor("run directory")
        self.processes = Executor("/proc")
        self.driver = Executor("the GPU driver", 1)
        self.sweeps = Executor("sweeps", SWEEP_SHARE, reserve=1)
        self.computing = Executor("computing", computes=True)

    def __iter__(self) -> Iterator[Executor]:
        """Yield those whose threads wait for something that may not answer."""
        yield from (self.environments, self.logs, self.run_directory)
        yield from (self.processes, self.driver, self.sweeps)

    def unkillable(self) -> Iterator[str]:
        """Yield the resources of all for which a thread waits that not even SIGKILL ends."""
        for executor in self:
            yield from executor.unkillable()

    def shutdown(self) -> None:
        """Let all their threads end when they have done what they have begun."""
        for executor in (*self, self.computing):
            executor.shutdown()


def _let_pass(result: asyncio.Future[Any]) -> None:
    """Take note of an exception that nobody waits for."""
    if not result.cancelled():
        result.exception()


def resolver() -> ThreadPoolExecutor:
    """Return the thread in which asyncio resolves names; it never takes a signal of the daemon."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="resolver")
    try:
        with blocked_signals():
            executor.submit(int)  # starts its one thread
    except RuntimeError as error:
        raise NoThreadError from error
    return executor
