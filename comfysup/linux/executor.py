"""Threads for blocking calls: to disks, to a driver, to /proc files of a stuck process.

There is one executor for each purpose. Each resource has a bounded share of its threads, so a mount
that does not answer occupies only its own share. Once a resource has stalled and its share is used
up, further calls to it fail at once.
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
    """A function to run in another thread, and the future of its result.

    The function runs even if the future has been cancelled.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Create the future in the running loop. Another thread must call `run`."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        try:
            result = self._work()
        except Exception as error:  # noqa: BLE001 - the future raises it
            self._tell(partial(self._fail, error))
        else:
            self._tell(partial(self._finish, result))

    def _tell(self, settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and the caller with it
            self._loop.call_soon_threadsafe(settle)

    def _finish(self, result: T) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


SHARE: Final = 2
"""Threads available to one resource."""

SWEEP_SHARE: Final = 16
"""Threads available to one sweep; each process that does not answer occupies one."""

MOST: Final = 64
"""Maximum number of threads of one executor."""

MOST_WAITING: Final = 1024
"""Maximum number of calls queued for one resource; further calls fail at once."""

AGAIN: Final = 0.1
"""Seconds between retries when memory is short."""

STALLED_AFTER: Final = 2.0
"""Seconds after which a running call counts as unanswered."""


class UnresponsiveError(OSError):
    """A resource does not answer. The text names the resource and for how long."""

    def __init__(self, resource: str, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"{resource} has not answered for {seconds:.0f} s")
        self.resource = resource
        self.seconds = seconds

    @override
    def __str__(self) -> str:
        """Return the text without the errno."""
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
    """Daemon threads for one purpose. A hung thread does not delay the exit of the process.

    An executor belongs to one event loop. `share` is the number of threads for each resource. The
    constructor starts `share` threads, or `reserve`, in case the kernel refuses new ones later.
    With `computes`, calls count as CPU work: they queue behind each other and are not refused as
    stalled.
    """

    def __init__(
        self,
        purpose: str,
        share: int = SHARE,
        reserve: int | None = None,
        *,
        computes: bool = False,
    ) -> None:
        """Start the first threads, named after `purpose`. Raises `NoThreadError`."""
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
        """Run `work` in a thread and return a future of its result. Calls to one resource queue.

        Calls within the share of a resource run concurrently, in no defined order. A caller that
        needs an order awaits each call before it submits the next.

        `resource` starts the error text, for example "/workspace/ComfyUI-comm" or "the GPU driver".
        The future raises what `work` raises. It raises `UnresponsiveError` at once if calls that
        have stalled use up the share of the resource, and OSError if no thread can be started. Work
        whose future is cancelled before it starts is skipped.
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
        """Run `work` without returning its result. The call queues and is never refused."""
        call = _Call(work, resource or self._purpose, self._loop.create_future())
        call.result.add_done_callback(_let_pass)
        share = self._shares.setdefault(call.resource, _Share())
        if len(share.running) < self._share:
            self._begin(share, call)
        else:
            share.waiting.append(call)

    async def ask(self, work: Callable[[], T], resource: str, patience: float) -> T:
        """Submit `work` and await it. Raises `UnresponsiveError` after `patience` seconds."""
        began = time.monotonic()
        result = self.submit(work, resource)
        try:
            async with asyncio.timeout(patience):
                return await result
        except TimeoutError:
            raise UnresponsiveError(resource, time.monotonic() - began) from None

    def unanswered(self) -> Iterator[tuple[str, float]]:
        """Yield each resource with a stalled call, and the age of its oldest call in seconds."""
        for resource, share in self._shares.items():
            if (age := self._oldest(share)) > STALLED_AFTER:
                yield resource, age

    def unkillable(self) -> Iterator[str]:
        """Yield each resource that a thread waits for in a sleep that SIGKILL cannot interrupt."""
        latest = time.monotonic() - STALLED_AFTER  # a working disk also causes short waits
        for resource, share in self._shares.items():
            stalled = [call.thread for call in share.running if call.began < latest]
            if any(map(is_unkillable, stalled)):
                yield resource

    def shutdown(self) -> None:
        """Tell the threads to exit after their current calls. Does not wait for them."""
        self._shares.clear()
        for _ in range(self._threads):
            self._calls.put(None)

    # ---- in the event loop

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
        """Start another thread. Raises OSError if the limit or the kernel refuses it."""
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
            except TypeError as error:  # a future does not accept StopIteration
                call.result.set_exception(RuntimeError(str(error)))
        share = self._shares.get(call.resource)
        if share is None:  # the executor was shut down
            return
        share.running.remove(call)
        while share.waiting and len(share.running) < self._share:
            following = share.waiting.popleft()
            if not following.result.done():
                self._begin(share, following)
        if not share.running:
            del self._shares[call.resource]

    def _is_refused(self, share: _Share) -> bool:
        """Return whether to refuse another call: the resource stalled, or its queue is full."""
        stalled = not self._computes and self._age(share) > STALLED_AFTER
        return stalled or len(share.waiting) >= MOST_WAITING

    def _age(self, share: _Share) -> float:
        """Return the age in seconds of the newest running call."""
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
            except Exception as error:  # noqa: BLE001 - the future raises it
                settle = partial(call.result.set_exception, error)
            except BaseException as error:  # noqa: BLE001 - must not end the thread or the loop
                ended = RuntimeError(f"{call.resource}: {error!r}")
                settle = partial(call.result.set_exception, ended)
            self._pass_on(call, settle)
            del call, settle  # an idle thread must not keep the call alive

    def _pass_on(self, call: _Call[Any], settle: Callable[[], None]) -> None:
        """Settle a call in the loop. Retries while memory is short."""
        while True:
            try:
                self._loop.call_soon_threadsafe(self._finished, call, settle)
            except MemoryError:
                time.sleep(AGAIN)
            except RuntimeError:  # the loop is closed, and the caller with it
                return
            else:
                return


class Executors:
    """The daemon's executors, one for each purpose."""

    def __init__(self) -> None:
        """Start the first threads of each executor. Raises `NoThreadError`."""
        self.environments = Executor("environment")
        self.logs = Executor("logs", 4)
        self.run_directory = Executor("run directory")
        self.processes = Executor("/proc")
        self.driver = Executor("the GPU driver", 1)
        self.sweeps = Executor("sweeps", SWEEP_SHARE, reserve=1)
        self.computing = Executor("computing", computes=True)

    def __iter__(self) -> Iterator[Executor]:
        """Yield the executors whose threads may block; `computing` is not one of them."""
        yield from (self.environments, self.logs, self.run_directory)
        yield from (self.processes, self.driver, self.sweeps)

    def unkillable(self) -> Iterator[str]:
        """Yield each resource of any executor with a thread that SIGKILL cannot interrupt."""
        for executor in self:
            yield from executor.unkillable()

    def shutdown(self) -> None:
        """Tell the threads of all executors to exit after their current calls."""
        for executor in (*self, self.computing):
            executor.shutdown()


def _let_pass(result: asyncio.Future[Any]) -> None:
    """Retrieve an exception so that asyncio does not log it as never retrieved."""
    if not result.cancelled():
        result.exception()


def resolver() -> ThreadPoolExecutor:
    """Return the one-thread pool for asyncio's name resolution, with the daemon's signals blocked.

    Raises `NoThreadError`.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="resolver")
    try:
        with blocked_signals():
            executor.submit(int)  # starts the thread
    except RuntimeError as error:
        raise NoThreadError from error
    return executor
