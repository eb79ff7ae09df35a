"""The backlog of one instance over all its processes: kept on disk, and told of."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from comfysup.comfyui import backlog_file
from comfysup.comfyui.backlog import Backlog, GivenUp, unkept
from comfysup.comfyui.prompts import Prompt
from comfysup.comfyui.queue_api import InThread
from comfysup.supervision.spec import Rescue

log = structlog.get_logger()

AGAIN = 1.0
"""Seconds between two tries to write a file that cannot be written."""

LAST_WRITE = 1.0
"""Seconds that a disk which stalls is waited for at the end."""

WRITING_SHARE = 10
"""A file that took so long to write is not written again before ten times as long."""


class Store(Protocol):
    """The file of one backlog; each method blocks on the disk."""

    def read(self) -> bytes | None: ...
    def write(self, content: bytes) -> bool: ...
    def forget(self) -> bool: ...
    def put_aside(self) -> Path: ...


class PromptNotice(StrEnum):
    """The names under which the world hears of prompts."""

    RESCUED = "prompt.rescued"
    GIVEN_UP = "prompt.given_up"


@dataclass(frozen=True, slots=True)
class PromptNews:
    """What became of a prompt whose process has ended; `reason` and `message` where given up."""

    notice: PromptNotice
    prompt_id: str
    reason: str | None = None
    message: str | None = None


class Ledger:
    """Holds the backlog of one instance, writes it down at every change, and tells the news.

    `tell` hears what becomes of prompts, `changed` that the backlog is another.
    """

    def __init__(
        self,
        store: Store,
        life: str,
        in_thread: InThread,
        tell: Callable[[PromptNews], None],
        changed: Callable[[], None],
    ) -> None:
        self.backlog = Backlog()
        self._store = store
        self._life = life
        self._in_thread = in_thread
        self._tell = tell
        self._changed = changed
        self._written: Backlog | None = self.backlog
        self._writing: asyncio.Task[None] | None = None
        self._refused = False
        self._tried = asyncio.Event()

    async def load(self) -> None:
        """Go on with what an earlier daemon has written in this life of the container."""
        try:
            written = await self._in_thread(self._store.read)
            found = backlog_file.load(written, self._life) if written is not None else None
        except (OSError, ValueError) as error:
            log.error("queue.file_unreadable", error=str(error))  # noqa: TRY400 - no defect of ours
            await self._put_aside()
            return
        if found is not None:
            self._written = None
            self.update(found)

    def update(self, backlog: Backlog) -> None:
        """Go on with that backlog."""
        if backlog == self.backlog:
            return
        self.backlog = backlog
        self._changed()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="write backlog")

    def belong_to(self, pid: int | None) -> None:
        """Go on with that process; None where nobody knows whether it still has anything."""
        self.update(replace(self.backlog, pid=pid))

    async def kept(self) -> bool:
        """Wait until what is known now is on disk; False once a try to write it has failed."""
        while self._writing is not None:
            await self._tried.wait()
            if self._refused:
                return False
        return True

    async def close(self) -> None:
        """Have on disk what is known, but do not wait for long; then write no more."""
        try:
            async with asyncio.timeout(LAST_WRITE):
                await self.kept()
        except TimeoutError:
            log.warning("queue.not_written", prompts=len(self.backlog.all))
        if self._writing is not None:
            self._writing.cancel()

    # ---- what happens to prompts, and is told

    def lost(self, rescue: Rescue, *, crashed: bool) -> None:
        """The process has ended."""
        self._go_on(self.backlog.lost(rescue, crashed=crashed))

    def forget(self, why: tuple[str, str]) -> None:
        """There will be no next process, for a reason with its sentence."""
        self._go_on(self.backlog.forgotten(why))

    def handed_in(self, prompt: Prompt, number: float) -> None:
        self.update(self.backlog.handed_in(prompt, number))
        self._tell(PromptNews(PromptNotice.RESCUED, prompt.id))

    def not_kept(self, prompt: Prompt) -> None:
        """Give up one of which only the id is known: an earlier daemon kept no more on disk."""
        self._go_on((self.backlog.settled(prompt), (unkept(prompt),)))

    def refused(self, prompt: Prompt, why: str) -> None:
        message = f"ComfyUI would not take it again: {why}"
        self._go_on((self.backlog.settled(prompt), (GivenUp(prompt.id, "refused", message),)))

    def _go_on(self, step: tuple[Backlog, tuple[GivenUp, ...]]) -> None:
        backlog, given_up = step
        self.update(backlog)
        for each in given_up:
            log.warning("prompt.given_up", prompt=each.prompt_id, reason=each.reason)
            self._tell(PromptNews(PromptNotice.GIVEN_UP, each.prompt_id, each.reason, each.message))

    # ---- the file

    async def _write(self) -> None:
        try:
            while self.backlog != self._written:
                backlog, started = self.backlog, time.monotonic()
                self._refused = not await self._in_thread(partial(self._write_down, backlog))
                self._let_know()
                if self._refused:
                    await asyncio.sleep(AGAIN)
                    continue
                self._written = backlog
                if self.backlog != self._written:
                    await asyncio.sleep(WRITING_SHARE * (time.monotonic() - started))
        finally:
            self._writing = None
            self._let_know()

    def _let_know(self) -> None:
        """Wake who waits for a try, and begin another one to be waited for."""
        self._tried.set()
        self._tried = asyncio.Event()

    def _write_down(self, backlog: Backlog) -> bool:
        if backlog.is_empty:
            return self._store.forget()
        return self._store.write(backlog_file.dump(backlog, self._life))

    async def _put_aside(self) -> None:
        try:
            aside = await self._in_thread(self._store.put_aside)
        except OSError:
            return
        log.error("queue.file_put_aside", file=str(aside))
