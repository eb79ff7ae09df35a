"""Log clients that do not read do not block others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typing_extensions import override

from comfysup.api.server.limits import Limits
from comfysup.api.stream_limit import StreamLimit
from comfysup.supervision.lifecycle_events import WaitFor
from tests.scenarios.waiting import until
from tests.unit.api.port import Caller, Port, listening
from tests.unit.api.site import API, NoLogs, World
from tests.unit.supervision.fakes import spec_of

HISTORY = f"GET {API}/instances/0/logs HTTP/1.1\r\nHost: x\r\n\r\n".encode()
FOLLOW = HISTORY.replace(b"logs", b"logs?follow=true")
PIECE = "x" * 65_535 + "\n"


class LongLogs(NoLogs):
    """Logs with more data than all buffers hold, until `ends`; `given` counts the pieces."""

    def __init__(self) -> None:
        self.ends = False
        self.given = 0

    @override
    @asynccontextmanager
    async def history(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        yield self._pieces()

    @override
    @asynccontextmanager
    async def follow(self, log_file: Path, lines: int) -> AsyncIterator[AsyncIterator[str]]:
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[str]:
        while not self.ends:
            self.given += 1
            yield PIECE
            await asyncio.sleep(0)


@dataclass
class Scene:
    """A port, the log of instance 0, and both stream limits."""

    port: Port
    logs: LongLogs
    world: World

    async def silent(self, request: bytes = HISTORY) -> Caller:
        """A caller that has requested a log and does not read it."""
        caller = await self.port.connect(limit=1)
        before = self.logs.given
        caller.writer.write(request)
        await until(lambda: self.logs.given > before)
        await self._quiet()
        return caller

    async def _quiet(self) -> None:
        """Return when all buffers are full."""
        rounds = 0
        while rounds < 50:
            before = self.logs.given
            await asyncio.sleep(0.001)
            rounds = rounds + 1 if before == self.logs.given else 0

    async def status(self, request: bytes) -> int:
        """Return the status of a response whose body is not read."""
        caller = await self.port.connect()
        caller.writer.write(request)
        head = await caller.reader.readline()
        return int(head.split()[1])


@asynccontextmanager
async def scene(
    directory: Path, *, connections: int = 100, slots: int = 100, crowded_patience: float = 600.0
) -> AsyncIterator[Scene]:
    logs = LongLogs()
    world = World(logs=logs)
    world.log_reader_limit = StreamLimit(slots, 600.0, crowded_patience=crowded_patience)
    world.follower_limit = StreamLimit(slots, 600.0, "too_many_followers", crowded_patience)
    async with listening(directory, Limits(connections=connections), world) as port:
        await port.fleet.start(spec_of(0), WaitFor.SPAWN, 10.0)
        yield Scene(port, logs, world)


@pytest.mark.parametrize("request_", [HISTORY, FOLLOW], ids=["history", "follow"])
async def test_connections_that_only_wait_for_their_reader_make_room(
    tmp_path: Path, request_: bytes
) -> None:
    async with scene(tmp_path, connections=3) as here:
        crowd = [await here.silent(request_) for _ in range(3)]
        statuses = [await (await here.port.connect()).ask() for _ in range(3)]
        for caller in crowd:
            await caller.let_go()

    assert statuses == [200] * 3


async def test_a_reader_that_keeps_reading_is_not_disconnected(tmp_path: Path) -> None:
    async with scene(tmp_path, connections=2) as here:
        reader = await here.port.connect()
        reader.writer.write(HISTORY)
        statuses = []
        for _ in range(20):
            assert await reader.reader.read(1 << 20)
            statuses.append(await (await here.port.connect()).ask())
        here.logs.ends = True
        end = b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            end = end[-20:] + await reader.reader.read(1 << 20)
            assert not reader.reader.at_eof()

    assert statuses == [200] * 20


@pytest.mark.parametrize("request_", [HISTORY, FOLLOW], ids=["history", "follow"])
async def test_a_reader_that_does_not_read_loses_its_slot_to_a_new_one(
    tmp_path: Path, request_: bytes
) -> None:
    async with scene(tmp_path, slots=2, crowded_patience=0.0) as here:
        first, second = [await here.silent(request_) for _ in range(2)]
        status = await here.status(request_)
        await first.let_go()
        held = not second.reader.at_eof()

    assert (status, held) == (200, True)


async def test_a_reader_beyond_the_limit_is_answered_with_503(tmp_path: Path) -> None:
    async with scene(tmp_path, slots=2) as here:
        for _ in range(2):
            await here.silent()
        refused = await here.port.connect()
        refused.writer.write(HISTORY)
        status, body = await refused.answer()
        follows = await here.status(FOLLOW)

    assert (status, b"too_many_readers" in body) == (503, True)
    assert follows == 200


async def test_readers_at_the_port_use_no_slot_of_the_socket(tmp_path: Path) -> None:
    async with scene(tmp_path, slots=1) as here:
        await here.silent()
        reader, writer = await asyncio.open_unix_connection(str(here.port.socket))
        writer.write(HISTORY)
        head = await reader.readline()
        writer.close()

    assert head == b"HTTP/1.1 200 OK\r\n"
