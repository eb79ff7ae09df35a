import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfysup.comfyui.client import ComfyClient, new_session
from comfysup.comfyui.queue import backlog_store
from comfysup.comfyui.queue.backlog_store import Storage
from comfysup.comfyui.queue.manager import QueueManager
from comfysup.comfyui.worker import Look
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.observed import PromptEvent
from tests.scenarios.waiting import HANG
from tests.unit.comfyui.queue.desk import THREADS, Desk, Serve
from tests.unit.comfyui.queue.managing import MakeQueues, Written
from tests.unit.comfyui.queue.server import QueueServer


@pytest.fixture
async def desk(tmp_path: Path, serve: Serve[QueueServer]) -> AsyncIterator[Desk]:
    """A desk whose watchers end before its servers."""
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


@pytest.fixture
def living() -> set[int]:
    """The threads of the watched process; 7 is its worker."""
    return {42, 7}


@pytest.fixture
def news() -> list[PromptEvent]:
    return []


@pytest.fixture
def output() -> Written:
    return Written(["Prompt executed in 0.01 seconds"])


@pytest.fixture
async def make_queues(
    tmp_path: Path,
    news: list[PromptEvent],
    serve: Serve[QueueServer],
    living: set[int],
    output: Written,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[MakeQueues]:
    """Makes those of one daemon after the other; closed before the servers that they watch.

    What one still writes, however slow the disk is, must not come after its close: the file would
    change under the next.
    """
    monkeypatch.setattr(backlog_store, "LAST_WRITE", HANG)
    made: list[QueueManager] = []

    async def look() -> Look:
        return Look(frozenset(living), worked=False)

    async with new_session() as session:

        def make() -> QueueManager:
            one = QueueManager(
                lambda url: ComfyClient(session, url, asyncio.to_thread),
                Storage(lambda number: StateFile(tmp_path / f"{number}.json"), "this life"),
                THREADS,
                lambda _instance, told: news.append(told),
                lambda: None,
                lambda _pid: look,
                lambda _number: output,
            )
            made.append(one)
            return one

        yield make
        for each in made:
            await each.close()


@pytest.fixture
def queues(make_queues: MakeQueues) -> QueueManager:
    return make_queues()
