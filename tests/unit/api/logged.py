"""An API with one instance whose log a test writes."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import aiohttp

from comfysup.api.stream_limit import StreamLimit
from comfysup.linux.executor import Executor
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from tests.scenarios.waiting import bounded
from tests.unit.api.site import API, Site, World, one, site_of

Answering: TypeAlias = AbstractAsyncContextManager[aiohttp.ClientResponse]

EVENTS = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Desk:
    """A site with one instance, `comfyui-0`, whose log the test writes."""

    site: Site
    world: World
    reader: LogReader
    pipe: LogPipe
    end: int
    log: Path

    async def write(self, data: bytes) -> None:
        """Write data, and return when it is in the log."""
        for begin in range(0, len(data), 65536):
            os.write(self.end, data[begin : begin + 65536])
            await self.pipe.drain()

    def ask(self, query: str = "", ref: str = "0", **headers: str) -> Answering:
        return self.site.client.get(f"{API}/instances/{ref}/logs{query}", headers=headers)

    async def remove(self) -> None:
        """Remove the instance as the daemon's observer does."""
        await self.site.ask("DELETE", f"{API}/instances/0")
        self.reader.finish(self.log)

    async def text(self, query: str = "", ref: str = "0") -> str:
        async with self.ask(query, ref) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()


@asynccontextmanager
async def desk_of(directory: Path, rotation: Rotation, slots: int = 5) -> AsyncIterator[Desk]:
    pump = LogPump(rotation)
    pump.start()
    disk = Executor("logs", 4)
    reader = LogReader(pump, disk)
    log = directory / "comfyui_instance_0.log"
    pipe = LogPipe.create(directory / "fifo", log, pump)
    end = pipe.open_for_instance("=== starts")
    await pipe.drain()
    stream_limit = StreamLimit(slots, 1.0, "too_many_followers")
    world = World(logs=reader, follower_limit=stream_limit, log_directory=directory)
    async with site_of(world) as site:
        await site.post(f"{API}/start-single", one(0))
        yield Desk(site, world, reader, pipe, end, log)
        reader.close()
    os.close(end)
    await pipe.close()
    disk.shutdown()
    await pump.close()


async def text_until(answer: aiohttp.ClientResponse, end: str) -> str:
    """Read text up to that end."""
    data = b""
    async with bounded():
        while not data.endswith(end.encode()):
            data += await answer.content.readany()
    return data.decode()


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str
    id: str


async def events_until(answer: aiohttp.ClientResponse, end: str) -> list[Event]:
    """Read events up to one with that end."""
    found: list[Event] = []
    fields: dict[str, list[str]] = {}
    async with bounded():
        while not (found and found[-1].data.endswith(end)):
            line = (await answer.content.readline()).decode().removesuffix("\n")
            if line:
                name, _, value = line.partition(": ")
                fields.setdefault(name, []).append(value)
            elif "data" in fields:
                name = fields.get("event", ["message"])[0]
                found.append(Event(name, "\n".join(fields["data"]), fields.get("id", [""])[0]))
                fields = {}
    return found
