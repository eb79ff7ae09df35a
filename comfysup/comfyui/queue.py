"""Watching the queue of one process, and handing prompts in and out of it.

ComfyUI's websocket tells that the queue changed, never how: so it is looked at upon each change.
Where there is no websocket it is looked at once in a probe period.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from comfysup.comfyui.backlog import Backlog
from comfysup.comfyui.ledger import Ledger
from comfysup.comfyui.prompts import Prompt
from comfysup.comfyui.queue_api import NotTakenError, QueueApi, QueueError

log = structlog.get_logger()

LOOK_GAP = 0.02
"""Seconds between two looks at least; a burst of changes needs one."""
LOOKING_SHARE = 10
"""A look that took so long is not repeated before ten times as long: it costs ComfyUI too."""
RETRY = 0.2
"""Seconds after which what could not be handed in or taken out is tried again."""


class QueueWatcher:
    """Keeps the backlog of an instance true while one process of it lives.

    `rescued` is set when the process has been given all that was owed to it. `period` is how often
    to look where nothing tells of changes, in seconds.
    """

    def __init__(
        self,
        api: QueueApi,
        ledger: Ledger,
        period: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.rescued = asyncio.Event()
        self._api = api
        self._ledger = ledger
        self._period = period
        self._wall = wall
        self._remaining = 0
        self._draining = False
        self._complained = False
        self._changed = asyncio.Event()
        self._looked = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def has_work(self) -> bool:
        """Whether, by all that was heard, the process has a prompt to work on."""
        return self._remaining > 0 or bool(self._backlog.running)

    async def run(self) -> None:
        """Watch, and hand in what is owed, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look_at_changes())
            tasks.create_task(self._rescue())

    async def drain(self) -> None:
        """Take out all that waits, late arrivals too, until nothing runs or waits any more.

        It is recorded before it is taken out. Cancelled when the process ends or time is up.
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
            except QueueError:
                await asyncio.sleep(RETRY)
            else:
                await looked.wait()

    @property
    def _backlog(self) -> Backlog:
        return self._ledger.backlog

    # ---- knowing

    async def _listen(self) -> None:
        """Hear of changes for as long as the process lives."""
        while True:
            try:
                async with self._api.changes() as changes:
                    async for remaining in changes:
                        self._remaining = remaining
                        self._ledger.update(self._backlog.told(remaining))
                        self._changed.set()
            except QueueError as error:
                self._complain("queue.no_websocket", error)
            self._changed.set()
            await asyncio.sleep(self._period())

    async def _look_at_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            started = time.monotonic()
            try:
                async with self._turn:
                    await self._look()
            except QueueError as error:
                self._complain("queue.unreadable", error)
                await asyncio.sleep(self._period())
                self._changed.set()
            else:
                self._looked.set()
                self._looked = asyncio.Event()
                await asyncio.sleep(max(LOOK_GAP, LOOKING_SHARE * (time.monotonic() - started)))

    async def _look(self) -> None:
        """Look at the queue; whoever calls has the turn, so that nothing is handed in meanwhile."""
        queue = await self._api.queue(self._backlog.known)
        self._remaining = len(queue.running) + len(queue.waiting)
        self._ledger.update(self._backlog.seen(queue, self._wall()))

    def _complain(self, event: str, error: QueueError) -> None:
        """Say once what hinders; that the process ends is no hindrance worth a word."""
        if not self._complained and "Connect" not in str(error):
            log.warning(event, url=self._api.url, error=str(error))
            self._complained = True

    # ---- handing in

    async def _rescue(self) -> None:
        """Hand in what is owed, in order, unless the process has or had it."""
        looked = False
        while self._backlog.owed and not self._draining:
            try:
                async with self._turn:
                    if not looked:
                        await self._look()
                        looked = True
                        continue
                    await self._hand_in(self._backlog.owed[0])
            except QueueError:
                looked = False  # it may have been taken although no answer came
                await asyncio.sleep(RETRY)
        self.rescued.set()

    async def _hand_in(self, prompt: Prompt) -> None:
        if prompt.content is None:
            self._ledger.not_kept(prompt)
            return
        if await self._api.has_executed(prompt.id):
            self._ledger.update(self._backlog.settled(prompt))
            return
        try:
            number = await self._api.hand_in(prompt)
        except NotTakenError as error:
            self._ledger.refused(prompt, str(error))
        else:
            self._ledger.handed_in(prompt, number)

    # ---- taking out

    async def _withdraw(self) -> None:
        await self._look()
        left = self._backlog.withdrawn()
        if taken := left.drained[:] if left != self._backlog else ():
            self._ledger.update(left)
            if not await self._ledger.kept():
                raise QueueError("what is taken out cannot be written down")
            await self._api.delete(each.id for each in taken)
            await self._look()

    async def _let_go_of_executed(self) -> None:
        """Owe nothing of what began to run before it could be taken out, and is done."""
        for prompt in self._backlog.drained:
            if await self._api.has_executed(prompt.id):
                self._ledger.update(self._backlog.settled(prompt))
