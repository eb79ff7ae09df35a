"""The backlog of one instance across its processes: stored on disk and reported."""

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from comfysup.comfyui.queue import backlog_file
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.given_up import CREDENTIALS_LOST, GivenUp, grouped, unkept
from comfysup.comfyui.queue.prompts import Prompt
from comfysup.model.observed import PromptEvent, PromptEventName
from comfysup.model.spec import Rescue
from comfysup.supervision.tasks import InThread, end_tasks

log = structlog.get_logger()

AGAIN = 1.0
"""Seconds between two tries to write a file that cannot be written."""

LAST_WRITE = 1.0
"""Seconds that a disk which stalls is waited for at the end."""

PASSING = {errno.ETIMEDOUT, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that say nothing about the file: the disk does not answer, or resources are short."""

WRITING_SHARE = 10
"""The pause after a write is this many times its duration, unless a task waits for the next."""


class Store(Protocol):
    """The file of one backlog; each method blocks on the disk."""

    def read(self) -> bytes | None: ...
    def write(self, content: bytes) -> bool: ...
    def forget(self) -> bool: ...
    def exists(self) -> bool: ...
    def put_aside(self) -> Path: ...
    def copy_aside(self) -> Path: ...
    def report_loss(self, sentence: str) -> None: ...


@dataclass(frozen=True, slots=True)
class BacklogThreads:
    """The threads of a `BacklogStore`: those for the `disk`, and those that only `compute`."""

    disk: InThread
    compute: InThread


@dataclass(frozen=True, slots=True)
class Storage:
    """The storage of backlogs. `store` returns the file of each instance.

    `life` identifies this life of the container.
    """

    store: Callable[[int], Store]
    life: str


class BacklogStore:
    """Holds the backlog of one instance, writes every change to disk, and reports it.

    `tell` receives the events of prompts; `changed` is called after each change.
    """

    def __init__(
        self,
        store: Store,
        life: str,
        threads: BacklogThreads,
        tell: Callable[[PromptEvent], None],
        changed: Callable[[], None],
    ) -> None:
        self.backlog = Backlog()
        self._store = store
        self._life = life
        self._threads = threads
        self._tell = tell
        self._changed = changed
        self._written: Backlog | None = self.backlog
        self._writing: asyncio.Task[None] | None = None
        self._refused = False
        self._tried = asyncio.Event()
        self._waiting = 0
        self._urgent = asyncio.Event()

    async def load(self, give_up_at: float = 0.0) -> None:
        """Load the backlog that an earlier daemon wrote in this life of the container.

        If the disk does not answer, retries until `give_up_at` (monotonic clock), so that nothing
        is lost.
        """
        lost: list[str] = []
        try:
            written = await self._read(give_up_at)
            if written is None:
                return
            load = partial(backlog_file.load, written, self._life, lost.append)
            found = await self._threads.compute(load)
        except (OSError, ValueError) as error:
            await self._tell_of_loss(str(error), self._store.put_aside)
            return
        if lost:
            await self._tell_of_loss(f"cannot read {', '.join(lost)}", self._store.copy_aside)
        if found is not None:
            self._written = None
            self.update(found)

    async def _read(self, give_up_at: float) -> bytes | None:
        while True:
            try:
                return await self._threads.disk(self._store.read)
            except OSError as error:
                if error.errno not in PASSING or time.monotonic() >= give_up_at:
                    raise
            await asyncio.sleep(AGAIN)

    def update(self, backlog: Backlog) -> None:
        """Replace the backlog."""
        if backlog == self.backlog:
            return
        before, self.backlog = self.backlog, backlog
        self._changed()
        # Counters alone are not written: a read of the queue follows each of their changes.
        if backlog.uncounted != before.uncounted:
            self._begin_to_write()

    def mend(self) -> None:
        """Write the file again if it was removed."""
        if self._writing is None and not (self.backlog.is_empty or self._store.exists()):
            self._written = None
            self._begin_to_write()

    def belong_to(self, pid: int | None) -> None:
        """Continue with that process, or with None if its queue is unknown."""
        self.update(replace(self.backlog, pid=pid))

    async def kept(self) -> bool:
        """Wait until the current backlog is on disk. Return False if a write has failed.

        The pause between two writes ends meanwhile.
        """
        self._waiting += 1
        self._urgent.set()
        try:
            while self._writing is not None:
                await self._tried.wait()
                if self._refused:
                    return False
            return True
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._urgent.clear()

    async def close(self) -> None:
        """Write the backlog to disk, waiting only briefly, and stop writing."""
        try:
            async with asyncio.timeout(LAST_WRITE):
                await self.kept()
        except TimeoutError:
            log.warning("queue.not_written", prompts=len(self.backlog.all))
        if self._writing is not None:
            await end_tasks([self._writing])

    # ---- changes of prompts, which are reported

    def lost(self, rescue: Rescue, *, crashed: bool, ran: str | None = None) -> None:
        """Record the end of the process; `ran` is the prompt that it executed, if known better."""
        self._go_on(self.backlog.lost(rescue, crashed=crashed, ran=ran))

    def forget(self, why: tuple[str, str]) -> None:
        """Give up all prompts: no next process will start, for a reason with its sentence."""
        self._go_on(self.backlog.forgotten(why))

    def choose(self, rescue: Rescue, *, at_end: bool) -> None:
        """Apply a caller's choice of prompts to rescue: owed ones, and `at_end` this process'."""
        self._go_on(self.backlog.chosen(rescue, at_end=at_end))

    async def submitting(self, prompt: Prompt) -> None:
        """Record that a prompt is about to be submitted.

        If prompts are suspected of a crash, the record is on disk first, unless the disk stalls: if
        the prompt crashes the process, the next daemon knows it too.
        """
        self.update(self.backlog.submitting(prompt))
        if self.backlog.struck:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE):
                    await self.kept()

    def submitted(self, prompt: Prompt, number: float) -> None:
        self.update(self.backlog.submitted(prompt, number))
        self._tell(PromptEvent(PromptEventName.RESCUED, prompt.id))

    def not_kept(self, prompt: Prompt) -> None:
        """Give up a prompt of which an earlier daemon stored only the id."""
        self._go_on((self.backlog.settled(prompt), (unkept(prompt),)))

    def credentials_lost(self, prompt: Prompt) -> None:
        """Give up a prompt whose credentials ComfyUI does not expose."""
        given_up = GivenUp(prompt.id, *CREDENTIALS_LOST)
        self._go_on((self.backlog.settled(prompt), (given_up,)))

    def refused(self, prompt: Prompt, why: str) -> None:
        message = f"ComfyUI rejected it: {why}"
        self._go_on((self.backlog.settled(prompt), (GivenUp(prompt.id, "refused", message),)))

    def _go_on(self, step: tuple[Backlog, tuple[GivenUp, ...]]) -> None:
        backlog, given_up = step
        self.update(backlog)
        for each in grouped(given_up):
            log.warning(
                "prompt.given_up", prompt=each.prompt_id, reason=each.reason, count=each.count
            )
            self._tell(
                PromptEvent(
                    PromptEventName.GIVEN_UP, each.prompt_id, each.reason, each.message, each.count
                )
            )

    # ---- the file

    def _begin_to_write(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="write backlog")

    async def _write(self) -> None:
        try:
            while self.backlog != self._written:
                backlog, started = self.backlog, time.monotonic()
                self._refused = not await self._is_written_down(backlog)
                self._let_know()
                if self._refused:
                    await asyncio.sleep(AGAIN)
                    continue
                self._written = backlog
                if self.backlog != self._written:
                    await self._pause(WRITING_SHARE * (time.monotonic() - started))
        finally:
            self._writing = None
            self._let_know()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until a task waits for the next write."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    def _let_know(self) -> None:
        """Wake the tasks that wait for a write, and start another one for later waiters."""
        self._tried.set()
        self._tried = asyncio.Event()

    async def _is_written_down(self, backlog: Backlog) -> bool:
        try:
            if backlog.is_empty:
                return await self._threads.disk(self._store.forget)
            content = await self._threads.compute(partial(backlog_file.dump, backlog, self._life))
            return await self._threads.disk(partial(self._store.write, content))
        except (
            OSError
        ):  # the disk does not answer (the watchdog reports it), or no thread is available
            return False

    async def _tell_of_loss(self, what: str, keep: Callable[[], Path]) -> None:
        """Report which part of an earlier daemon's queue is lost, and keep the file."""
        kept = None
        with suppress(OSError):
            kept = await self._threads.disk(keep)
        log.error("queue.file_unreadable", error=what, kept=str(kept))
        self._store.report_loss(f"prompts of an earlier daemon are lost: {what} (see {kept})")
