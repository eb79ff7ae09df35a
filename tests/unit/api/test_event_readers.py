"""Readers of the stream of events: their number, and those that do not read."""

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from comfysup.api.routes import events as module
from tests.unit.api.event_scene import scene
from tests.unit.api.streams import EVENTS, Event, following


async def test_the_number_of_readers_is_limited_and_a_slot_is_released_at_once() -> None:
    async with scene(slots=3) as here, AsyncExitStack() as readers:
        for _ in range(3):
            await readers.enter_async_context(following(here.site.client.get))
        status, code, detail = await here.site.refused("GET", EVENTS)
        assert (status, code) == (503, "too_many_readers")
        assert "3 readers" in detail

        await readers.aclose()
        await here.until_seated(0)

        async with following(here.site.client.get):
            pass


@pytest.mark.parametrize("name", ["", "api.sock"])
async def test_a_reader_that_does_not_read_is_disconnected_and_delays_no_other(
    name: str, tmp_path: Path
) -> None:
    """Over TCP the kernel ends the connection; over a unix socket only comfysup does."""
    async with scene(patience=0.3) as here:
        silent = await here.silent_reader(tmp_path / name if name else None)
        async with following(here.site.client.get) as stream:
            await here.until_seated(2)
            for number in range(1, 61):
                here.happen(size=20_000)
                assert [event.id for event in await stream.take(1)] == [number]
            assert here.stream_limit.taken == 2

            await here.until_seated(1)

            here.happen()
            assert [event.id for event in await stream.take(1)] == [61]
        silent.close()


async def test_the_memory_of_a_silent_reader_is_bounded() -> None:
    async with scene() as here:
        silent = await here.silent_reader()
        server = here.site.client.server.runner
        assert server is not None
        assert server.server is not None
        [connection] = server.server.connections
        assert connection.transport is not None
        for _ in range(100):
            here.happen(size=20_000)
            await asyncio.sleep(0.001)

        # 2 MB have happened. asyncio pauses a writer at 64 kB, aiohttp looks every 64 kB.
        assert connection.transport.get_write_buffer_size() < 200_000
        own = connection.transport.get_extra_info("socket")
        kept = own.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert kept <= 2 * module.SEND_BUFFER
        silent.close()


async def test_a_reader_that_fell_behind_learns_of_the_missed_events() -> None:
    events: list[Event] = []
    async with scene(keep=10) as here, following(here.site.client.get) as stream:
        connection = stream.answer.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        for _ in range(300):
            here.happen(size=50_000)
            await asyncio.sleep(0)
        connection.transport.resume_reading()
        while not events or events[-1].id != 300:
            events += await stream.take(1)

    gaps = [event for event in events if event.name == "events.missed"]
    others = [event for event in events if event.name == "test"]
    assert gaps
    assert sum(gap.data["missed"] for gap in gaps) + len(others) == 300
    assert [event.id for event in events] == sorted(event.id for event in events)
