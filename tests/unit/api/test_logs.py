"""The log of an instance over HTTP: what is in it is the same, however it is asked for."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import aiohttp
import pytest

from comfysup.api.stream_limit import StreamLimit
from comfysup.linux.executor import Executor
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from tests.scenarios.waiting import bounded, until
from tests.unit.api.site import API, Site, World, one, site_of

Answering: TypeAlias = AbstractAsyncContextManager[aiohttp.ClientResponse]

EVENTS = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Desk:
    """A site with one instance, `comfyui-0`, whose log is written to by hand."""

    site: Site
    world: World
    reader: LogReader
    pipe: LogPipe
    end: int
    log: Path

    async def write(self, data: bytes) -> None:
        """Returns when it is in the log."""
        for begin in range(0, len(data), 65536):
            os.write(self.end, data[begin : begin + 65536])
            await self.pipe.drain()

    def ask(self, query: str = "", ref: str = "0", **headers: str) -> Answering:
        return self.site.client.get(f"{API}/instances/{ref}/logs{query}", headers=headers)

    async def remove(self) -> None:
        """Removes the instance; the daemon's observer does the same."""
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


@pytest.fixture
def rotation() -> Rotation:
    return Rotation()


@pytest.fixture
async def desk(tmp_path: Path, rotation: Rotation) -> AsyncIterator[Desk]:
    async with desk_of(tmp_path, rotation) as one_desk:
        yield one_desk


async def text_until(answer: aiohttp.ClientResponse, end: str) -> str:
    """What comes, up to that end."""
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
    """The events that come, up to one with such an end."""
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


# ---- an instance that is removed


async def test_a_follower_of_events_receives_the_removal_of_the_instance(desk: Desk) -> None:
    async with desk.ask(**EVENTS) as answer:
        await desk.write(b"its last line\n")
        await desk.remove()
        events = await events_until(answer, "was removed")
        rest = await answer.content.read()

    lines = [line for each in events if each.name == "message" for line in each.data.split("\n")]
    assert lines == ["=== starts", "its last line"]
    assert (events[-1].name, events[-1].data) == ("removed", "instance 0 'comfyui-0' was removed")
    assert rest == b""


async def test_a_follower_of_text_receives_the_removal_of_the_instance(desk: Desk) -> None:
    async with desk.ask("?follow=true") as answer:
        await desk.write(b"its last line\n")
        await desk.remove()
        text = await answer.text()

    assert text.endswith("its last line\n[comfysup: instance 0 'comfyui-0' was removed]\n")


async def test_a_shutdown_of_the_daemon_is_not_reported_as_a_removal(desk: Desk) -> None:
    async with desk.ask("?follow=true") as text, desk.ask(**EVENTS) as events:
        desk.reader.close()
        said = await text.text() + await events.text()

    assert "removed" not in said


# ---- the last lines


async def test_the_log_is_the_last_lines_as_text(desk: Desk) -> None:
    await desk.write(b"".join(b"%d\n" % number for number in range(500)))

    async with desk.ask() as answer:
        text = await answer.text()

    assert "".join(f"{number}\n" for number in range(300, 500)) == text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("ref", ["0", "comfyui-0"])
async def test_the_query_sets_the_number_of_lines(desk: Desk, ref: str) -> None:
    await desk.write(b"one\ntwo\nthree")

    texts = [await desk.text(f"?lines={count}", ref) for count in (0, 1, 2, 10_000_000)]

    assert texts == ["", "three", "two\nthree", "=== starts\none\ntwo\nthree"]


@pytest.mark.parametrize("rotation", [Rotation(1_000, keep=9)])
async def test_lines_of_rotated_files_are_included(desk: Desk) -> None:
    lines = [f"{number:050}\n" for number in range(100)]
    await desk.write("".join(lines).encode())

    assert "".join(lines[10:]) == await desk.text("?lines=90")


async def test_escape_sequences_and_invalid_bytes_of_a_log_are_removed(desk: Desk) -> None:
    await desk.write(b"\x1b[31mred\x1b[0m\0\xff\xc3\xa9\r\n\r 1%\r100%\n")

    assert await desk.text("?lines=2") == "red\ufffdé\n100%\n"


async def test_a_log_that_does_not_exist_is_empty(desk: Desk) -> None:
    await desk.site.post(f"{API}/start-single", one(1))

    assert await desk.text(ref="1") == ""


async def test_the_log_of_an_unknown_instance_is_404(desk: Desk) -> None:
    assert (await desk.site.refused("GET", f"{API}/instances/9/logs"))[:2] == (
        404,
        "unknown_instance",
    )


async def test_an_unreadable_log_is_a_500_with_the_reason(desk: Desk) -> None:
    await desk.site.post(f"{API}/start-single", one(1))
    (desk.world.log_directory / "comfyui_instance_1.log").symlink_to("comfyui_instance_1.log")

    status, code, detail = await desk.site.refused("GET", f"{API}/instances/1/logs")

    assert (status, code) == (500, "log_unreadable")
    assert detail.startswith("cannot read the log of instance 1 'comfyui-1': Too many levels of")


@pytest.mark.parametrize("query", ["lines=-1", "lines=x", "lines=10000001", "follow=maybe", "n=1"])
async def test_an_invalid_query_is_refused(desk: Desk, query: str) -> None:
    async with desk.ask(f"?{query}") as answer:
        assert answer.status == 422


# ---- following


async def test_a_follower_receives_the_last_lines_and_new_output(desk: Desk) -> None:
    await desk.write(b"one\ntwo\n")

    async with desk.ask("?follow=true&lines=1") as answer:
        first = await text_until(answer, "two\n")
        await desk.write(b"half")
        second = await text_until(answer, "half")
        await desk.write(b"\rwhole\n")
        third = await text_until(answer, "\n")

    assert (first, second, third) == ("two\n", "half", "\rwhole\n")


async def test_response_headers_are_sent_before_the_first_output(desk: Desk) -> None:
    async with bounded(), desk.ask("?follow=true&lines=0") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_events_contain_complete_lines_and_the_unfinished_line(desk: Desk) -> None:
    async with desk.ask("?lines=0", **EVENTS) as answer:
        await desk.write(b"one\n\ntwo\n\r 10%")
        found = await events_until(answer, " 10%")
        await desk.write(b"\r 50%")
        found += await events_until(answer, " 50%")
        await desk.write(b"\r100%\n")
        found += await events_until(answer, "100%")

    whole = [event.data for event in found if event.name == "message"]
    progress = [event for event in found if event.name == "progress"]
    assert "\n".join(whole) == "one\n\ntwo\n100%"
    assert [event.data for event in progress] == [" 10%", " 50%"]
    assert not any(event.id for event in progress)


async def test_events_can_be_requested_without_following(desk: Desk) -> None:
    async with desk.ask("?follow=false", **EVENTS) as answer:
        assert await answer.text() == "=== starts\n"


@pytest.mark.parametrize("rotation", [Rotation(2_000, keep=50)])
async def test_a_stream_of_events_resumes_after_the_last_id(desk: Desk) -> None:
    await desk.write(b"".join(b"%050d\n" % number for number in range(100)))
    async with desk.ask("?lines=1", **EVENTS) as answer:
        last = (await events_until(answer, "99"))[-1].id
    await desk.write(b"".join(b"%050d\n" % number for number in range(100, 200)))

    async with desk.ask("?lines=1", **EVENTS, **{"Last-Event-ID": last}) as answer:
        found = await events_until(answer, "199")

    assert "\n".join(event.data for event in found) == "\n".join(
        f"{number:050}" for number in range(100, 200)
    )


@pytest.mark.parametrize("rotation", [Rotation(2_000, keep=1)])
async def test_a_late_reader_learns_which_lines_are_missing(desk: Desk) -> None:
    await desk.write(b"begin\n")
    async with desk.ask("?lines=1", **EVENTS) as answer:
        last = (await events_until(answer, "begin"))[-1].id
    await desk.write(b"".join(b"%050d\n" % number for number in range(500)))

    async with desk.ask("?lines=1", **EVENTS, **{"Last-Event-ID": last}) as answer:
        note, *found = await events_until(answer, "499")

    told = "".join(f"{event.data}\n" for event in found)
    assert note.data == f"[comfysup: {51 * 500 - len(told)} bytes missed]"
    assert told.endswith(f"{498:050}\n{499:050}\n")


async def test_an_unissued_id_is_invalid(desk: Desk) -> None:
    await desk.write(b"one\ntwo\n")

    async with desk.ask("?lines=1", **EVENTS, **{"Last-Event-ID": "7"}) as answer:
        found = await events_until(answer, "two")

    assert [event.data for event in found] == ["two"]


NASTY = (
    b"\x1b[32mgreen\x1b[0m \xff\xfe\0\r\n" + b"\r 1%" * 5_000 + b"\n" + b"x" * 200_000 + b"\nend\n"
)


async def test_text_and_events_contain_the_same_text(desk: Desk) -> None:
    async with (
        desk.ask("?follow=true&lines=0") as following,
        desk.ask("?lines=0", **EVENTS) as listening,
    ):
        await desk.write(NASTY)
        followed = await text_until(following, "end\n")
        heard = await events_until(listening, "end")
    told = await desk.text("?lines=4")

    assert told == "green \ufffd\ufffd\n 1%\n" + "x" * 200_000 + "\nend\n"
    assert told == "".join(f"{line.rpartition(chr(13))[2]}\n" for line in followed.split("\n")[:-1])
    assert told.replace("\n", "") == "".join(
        event.data.replace("\n", "") for event in heard if event.name == "message"
    )


# ---- many, and those that stop


async def test_the_number_of_followers_is_limited(tmp_path: Path) -> None:
    async with desk_of(tmp_path, Rotation(), slots=2) as desk:
        async with desk.ask("?follow=true"), desk.ask(**EVENTS):
            status, code, _ = await desk.site.refused("GET", f"{API}/instances/0/logs?follow=true")
            told = await desk.text()
        await until(lambda: not desk.world.follower_limit.taken)
        async with desk.ask("?follow=true") as answer:
            again = answer.status

    assert (status, code) == (503, "too_many_followers")
    assert told == "=== starts\n"
    assert again == 200


async def test_a_disconnected_follower_is_released_without_further_output(desk: Desk) -> None:
    async with desk.ask("?follow=true") as answer:
        await text_until(answer, "\n")
        assert desk.world.follower_limit.taken == 1
        answer.close()

    await until(lambda: not desk.world.follower_limit.taken)
    assert desk.world.follower_limit.taken == 0


@pytest.mark.parametrize("rotation", [Rotation(100_000, keep=2)])
async def test_a_follower_that_stops_reading_is_disconnected(desk: Desk) -> None:
    """Rotation deletes output that the follower has not read, so there is always more to send."""
    async with desk.ask("?follow=true&lines=0"), bounded():
        assert desk.world.follower_limit.taken == 1
        while desk.world.follower_limit.taken:
            await desk.write(b"x" * 65_535 + b"\n")

    assert await desk.text("?lines=1") == "x" * 65_535 + "\n"


async def test_a_shutdown_of_the_daemon_ends_streams_cleanly(desk: Desk) -> None:
    async with desk.ask("?follow=true") as following, desk.ask(**EVENTS) as listening:
        await desk.write(b"last words\n")
        desk.reader.close()
        async with bounded():
            texts = [await following.text(), await listening.text()]

    assert all("last words\n" in text for text in texts)
