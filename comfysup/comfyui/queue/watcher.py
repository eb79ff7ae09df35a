"""Watches the queue of one process, resubmits prompts to it and removes prompts from it.

ComfyUI's websocket reports each change of the queue and its depth but not the content, so `/queue`
is read upon each change. Without a websocket it is read once per probe period.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from comfysup.comfyui.client import (
    ComfyClient,
    ComfyError,
    NoAnswerError,
    NotConnectedError,
)
from comfysup.comfyui.diagnosis.conditions import IN_A_ROW, lasting_gpu_error
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.backlog_store import BacklogStore
from comfysup.comfyui.queue.resubmission import Resubmission
from comfysup.supervision.protocols import Condition
from comfysup.supervision.tasks import keep_going

log = structlog.get_logger()

LOOK_GAP = 0.01
"""Minimum seconds between two reads; one read covers a burst of changes."""
LONGEST_PAUSE = 0.5
"""Maximum seconds between two reads after a change."""
BYTES_PER_SECOND = 100e6
"""Rate at which ComfyUI's event loop writes the response of /queue; gives the cost of a read."""
LOOKING_SHARE = 10
"""The pause after a read is this many times the cost of the read, unless one is urgent."""
UNSURE_AFTER = 1.0
"""Seconds without a response after which the known queue may be outdated."""
LAST_WORDS = 0.5
"""Seconds to read the last messages of an ended process; usually they have arrived."""
RETRY = 0.2
"""Seconds before a failed request is retried."""


def pauses(size: int) -> tuple[float, float]:
    """Return the minimum and the usual pause in seconds after a response of so many bytes.

    The minimum is for urgent reads: `/ws` reports another depth than the known one. The duration of
    the read does not count: a node that holds the GIL delays it at no cost to ComfyUI.
    """
    cost = size / BYTES_PER_SECOND
    return (
        min(max(LOOK_GAP, cost), LONGEST_PAUSE),
        min(max(LOOK_GAP, LOOKING_SHARE * cost), LONGEST_PAUSE),
    )


async def no_mark() -> str:
    """Return "", for a process whose output is unavailable."""
    return ""


class QueueWatcher:
    """Keeps the backlog of an instance current while one of its processes lives.

    `rescued` is set when the process has received all owed prompts. `frames` counts its messages
    that do not concern the queue. `idle_mark` is where the output ended before the last read, if
    that showed an empty queue. `period` is the number of seconds between two reads without a
    websocket. `mark` returns the current end of the process's output, empty if unknown; it does
    not raise.
    """

    def __init__(
        self,
        api: ComfyClient,
        backlog_store: BacklogStore,
        period: Callable[[], float],
        wall: Callable[[], float] = time.time,
        mark: Callable[[], Awaitable[str]] = no_mark,
    ) -> None:
        self.rescued = asyncio.Event()
        self.frames = 0
        self.idle_mark = ""
        self._finished = False
        self._api = api
        self._backlog_store = backlog_store
        self._period = period
        self._wall = wall
        self._mark = mark
        self._size = 0
        self._draining = False
        self._complained: set[str] = set()
        self._unanswered_since: float | None = time.monotonic() - UNSURE_AFTER
        self._probed_at: float | None = None
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._taken = asyncio.Event()
        self._looked = asyncio.Event()
        self._unconnected = asyncio.Event()
        self._unconnected.set()
        self._turn = asyncio.Lock()
        self._resubmission = Resubmission(api, backlog_store)

    @property
    def is_known(self) -> bool:
        """Return whether the backlog matches the queue.

        False before the first read, while `/ws` reports another depth, and while `is_silent`.
        """
        return self._backlog.is_whole and not self.is_silent

    @property
    def is_silent(self) -> bool:
        """Return whether the process has left a request unanswered for too long."""
        now = time.monotonic()
        asked = (self._unanswered_since, self._probed_at)
        return any(at is not None and now - at >= UNSURE_AFTER for at in asked)

    def probed(self, *, answered: bool) -> None:
        """Record that a probe of the process was sent (`answered` False) or answered.

        A response after a silence triggers a read of the queue, because much may have changed.
        """
        now = time.monotonic()
        if not answered:
            self._probed_at = now if self._probed_at is None else self._probed_at
        elif self._probed_at is not None:
            if now - self._probed_at >= UNSURE_AFTER:
                self._change()
            self._probed_at = None

    async def hear_out(self) -> None:
        """Read the remaining messages of an ended process, for a limited time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._unconnected.wait()

    async def condition(self) -> Condition | None:
        """Return the condition of the process by the end of its last prompts, or None.

        Also None if no prompt can have ended since the last call, or if a request fails, which the
        next call repeats.
        """
        if not self._finished:
            return None
        self._finished = False
        try:
            return lasting_gpu_error(await self._api.last_failures(IN_A_ROW))
        except ComfyError:
            self._finished = True
            return None

    async def run(self) -> None:
        """Watch the queue and resubmit owed prompts until cancelled.

        A bug is logged and both are restarted.
        """
        async with asyncio.TaskGroup() as tasks:
            loops = (self._listen, self._look_at_changes, self._mark_running, self._rescue)
            for loop in loops:
                name = f"the queue of {self._api.url}"
                tasks.create_task(keep_going(loop, name, self._broke))

    def _broke(self, sentence: str | None) -> None:
        """Treat the queue as unknown after a bug, and read it again."""
        if sentence:
            self._unanswered_since = time.monotonic() - UNSURE_AFTER
            self._changed.set()

    async def drain(self) -> None:
        """Remove all waiting prompts, including new ones, until none runs or waits.

        Prompts are recorded before their removal. Cancelled when the process ends or time is up.
        """
        self._draining = True
        while True:
            looked = self._looked
            try:
                async with self._turn:
                    await self._withdraw()
                    if not self._backlog.depth:
                        await self._let_go_of_executed()
                        return
            except ComfyError:
                await asyncio.sleep(RETRY)
            else:
                await looked.wait()

    @property
    def _backlog(self) -> Backlog:
        return self._backlog_store.backlog

    # ---- reading

    async def _listen(self) -> None:
        """Receive changes while the process lives."""
        while True:
            try:
                async with self._api.changes() as changes:
                    self._unconnected.clear()
                    self._finished = True
                    self._backlog_store.update(self._backlog.connected())
                    async for remaining in changes:
                        if remaining is None:
                            self.frames += 1
                            continue
                        self._update(self._backlog.heard(remaining))
                        self._change()
                again = self._period()
            except ComfyError as error:
                self._complain("queue.no_websocket", error)
                again = self._retry(error)
            finally:
                self._unconnected.set()
            self._change()
            await asyncio.sleep(again)

    def _change(self) -> None:
        """Schedule a read of the queue: at once if its depth differs from the known one."""
        if self._unanswered_since is None:
            self._unanswered_since = time.monotonic()
        self._changed.set()
        if not self._backlog.is_whole:
            self._urgent.set()

    async def _look_at_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with self._turn:
                    await self._look()
            except ComfyError as error:
                self._complain("queue.unreadable", error)
                await asyncio.sleep(self._retry(error))
                self._changed.set()
            else:
                self._looked.set()
                self._looked = asyncio.Event()
                await self._pause()

    async def _pause(self) -> None:
        least, usual = pauses(self._size)
        await asyncio.sleep(least)
        with suppress(TimeoutError):
            async with asyncio.timeout(usual - least):
                await self._urgent.wait()

    async def _look(self) -> None:
        """Read the queue. The caller holds the turn, so no prompt is submitted meanwhile."""
        self._urgent.clear()
        mark = "" if self._backlog.told else await self._mark()
        queue, self._size = await self._api.queue(self._backlog.known)
        self.idle_mark = "" if queue.running or queue.waiting else mark
        self._unanswered_since = time.monotonic() if self._changed.is_set() else None
        self._update(self._backlog.seen(queue, self._wall()))
        if any(not each.mark for each in self._backlog.running):
            self._taken.set()

    async def _mark_running(self) -> None:
        """Record where the output ended after a prompt was seen running: its end comes next."""
        while True:
            await self._taken.wait()
            self._taken.clear()
            for each in self._backlog.running[:1]:
                if mark := await self._mark():
                    self._backlog_store.update(self._backlog.marked(each.prompt.key, mark))

    def _update(self, backlog: Backlog) -> None:
        """Adopt the new backlog, and process prompts that have left the queue."""
        self._finished |= (backlog.told or 0) < (self._backlog.told or 0)
        self._finished |= not {each.id for each in self._backlog.running} <= backlog.ids
        self._backlog_store.update(backlog)

    def _retry(self, error: ComfyError) -> float:
        """Return the seconds before a retry: few if no response arrived, else more."""
        return min(RETRY, self._period()) if isinstance(error, NoAnswerError) else self._period()

    def _complain(self, event: str, error: ComfyError) -> None:
        """Log the first error of each event; a refused or closed connection is not logged."""
        if event not in self._complained and not isinstance(error, NotConnectedError):
            log.warning(event, url=self._api.url, error=str(error))
            self._complained.add(event)

    # ---- resubmitting

    async def _rescue(self) -> None:
        """Resubmit owed prompts in order, except those that the process has or had."""
        looked = False
        while self._backlog.owed and not self._draining:
            try:
                async with self._turn:
                    if not looked:
                        await self._look()
                        looked = True
                        continue
                    await self._resubmission.submit(self._backlog.owed[0], self._change)
                    # After a crash the running prompt must be known before the next is submitted.
                    looked = not self._backlog.struck
            except ComfyError as error:
                looked = False  # may have been accepted without a response
                self._complain("queue.not_submitted", error)
                await asyncio.sleep(self._retry(error))
        self._change()
        self.rescued.set()

    # ---- removing

    async def _withdraw(self) -> None:
        await self._look()
        left = self._backlog.withdrawn()
        if taken := left.drained[:] if left != self._backlog else ():
            self._backlog_store.update(left)
            if not await self._backlog_store.kept():
                raise ComfyError("the prompts taken out cannot be written to disk")
            await self._api.delete(each.id for each in taken)
            await self._look()

    async def _let_go_of_executed(self) -> None:
        """Remove prompts from the owed ones that ran before their removal and have finished."""
        for prompt in self._backlog.drained:
            if await self._api.has_executed(prompt.id):
                self._backlog_store.update(self._backlog.settled(prompt))
