"""A backlog store with its file, and watchers of a queue."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp

from comfysup.comfyui.client import ComfyClient
from comfysup.comfyui.queue.backlog_store import BacklogStore, BacklogThreads
from comfysup.comfyui.queue.watcher import QueueWatcher
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.observed import PromptEvent
from tests.unit.comfyui.queue.server import QueueServer

S = TypeVar("S", bound=QueueServer)
Serve = Callable[[S], Awaitable[S]]

LIFE = "this life"
THREADS = BacklogThreads(asyncio.to_thread, asyncio.to_thread)


@dataclass
class Desk:
    """A backlog store with its file, the events it emitted, and its watchers."""

    path: Path
    session: aiohttp.ClientSession
    news: list[PromptEvent] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backlog_store = self.new_ledger()

    def new_ledger(self) -> BacklogStore:
        """Return a store as the next daemon creates it."""
        return BacklogStore(StateFile(self.path), LIFE, THREADS, self.news.append, lambda: None)

    def watch(self, url: str, period: float = 3600) -> QueueWatcher:
        """Watch a queue; the default period is too long for a poll to affect a test."""
        api = ComfyClient(self.session, url, asyncio.to_thread)
        watcher = QueueWatcher(api, self.backlog_store, lambda: period)
        self.tasks.append(asyncio.create_task(watcher.run()))
        return watcher

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    @property
    def running(self) -> list[str]:
        return [each.id for each in self.backlog_store.backlog.running]

    @property
    def waiting(self) -> list[str]:
        return [each.id for each in self.backlog_store.backlog.waiting]

    @property
    def owed(self) -> list[str]:
        return [each.id for each in self.backlog_store.backlog.owed]
