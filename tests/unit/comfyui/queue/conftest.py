import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from comfysup.comfyui.client import ComfyClient, new_session
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
    """A ledger with its file, and what it told; and who watches for it."""

    path: Path
    session: aiohttp.ClientSession
    news: list[PromptEvent] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backlog_store = self.new_ledger()

    def new_ledger(self) -> BacklogStore:
        """One as the next daemon would have it."""
        return BacklogStore(StateFile(self.path), LIFE, THREADS, self.news.append, lambda: None)

    def watch(self, url: str, period: float = 3600) -> QueueWatcher:
        """Watches; no poll helps a test with that period."""
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


@pytest.fixture
async def desk(tmp_path: Path, serve: Serve[QueueServer]) -> AsyncIterator[Desk]:
    """A desk that is left before what it watches is closed."""
    async with new_session() as session:
        one = Desk(tmp_path / "0.json", session)
        yield one
        await one.leave()
        await one.backlog_store.kept()


@pytest.fixture
async def serve() -> AsyncIterator[Serve[QueueServer]]:
    served: list[QueueServer] = []

    async def serve_one(server: QueueServer) -> QueueServer:
        served.append(server)
        await server.listen()
        return server

    yield serve_one
    for server in served:
        await server.close()
