"""Followers of a log."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from comfysup.logs.files import Rotation
from tests.scenarios.waiting import bounded
from tests.scenarios.waiting import until as until_true
from tests.unit.linux.children import open_descriptors
from tests.unit.logs.desk import Desk


async def until(pieces: AsyncIterator[str], end: str) -> str:
    """Read text up to that end."""
    text = ""
    async with bounded():
        while not text.endswith(end):
            text += await anext(pieces)
    return text


# ---- following


async def test_a_follower_receives_output_as_it_arrives(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"before\n")

    async with desk.reader.follow(desk.log, 1) as pieces:
        first = await until(pieces, "before\n")
        await one.write(b"half a line, ")
        second = await until(pieces, ", ")
        await one.write(b"the other half\n")
        third = await until(pieces, "\n")

    assert (first, second, third) == ("before\n", "half a line, ", "the other half\n")
    await one.close()


async def test_a_follower_receives_progress_bars_as_tail_prints_them(desk: Desk) -> None:
    one = desk.begin()
    await one.pipe.drain()
    async with desk.reader.follow(desk.log, 0) as pieces:
        await one.write(b"\r  0%")
        first = await until(pieces, "0%")
        await one.write(b"\r 50%\x1b[A\r100%\n")
        second = await until(pieces, "\n")

    assert first + second == "\r  0%\r 50%\r100%\n"
    await one.close()


async def test_a_follower_continues_with_the_next_generation(desk: Desk) -> None:
    async with desk.reader.follow(desk.log, 10) as pieces:
        for number in range(3):
            one = desk.begin()
            await one.write(b"generation %d\n" % number)
            await one.close()
            found = await until(pieces, f"{number}\n")

            assert found == f"=== starts\ngeneration {number}\n"


@pytest.mark.parametrize("rotation", [Rotation(2_000, keep=3)])
async def test_rotation_during_a_follow_loses_nothing(desk: Desk) -> None:
    one = desk.begin()
    expected = "=== starts\n"
    async with desk.reader.follow(desk.log, 10) as pieces:
        found = await until(pieces, "\n")
        for number in range(500):
            await one.write(b"%050d\n" % number)
            expected += f"{number:050}\n"
            found += await until(pieces, f"{number}\n")

    assert expected == found
    await one.close()


@pytest.mark.parametrize("rotation", [Rotation(100_000, keep=2)])
async def test_a_stopped_follower_learns_of_missed_bytes_and_receives_the_rest(desk: Desk) -> None:
    one = desk.begin()
    lines = [b"%09d\n" % number for number in range(200_000)]
    async with desk.reader.follow(desk.log, 0) as pieces:
        await one.write(lines[0])
        found = await until(pieces, "\n")
        for begin in range(1, len(lines), 1_000):
            await one.write(b"".join(lines[begin : begin + 1_000]))
        found += await until(pieces, f"{199_999:09}\n")
    await one.close()

    before, _, after = found.partition("[comfysup: ")
    # Whether the heading of the generation is there before the follower is chance.
    before = before.removeprefix("=== starts\n")
    count, _, after = after.partition(" bytes missed]\n")
    assert int(count) > 1_000_000
    assert len(before) + int(count) + len(after) == 10 * len(lines)
    assert before + after == "".join(
        line.decode() for line in (*lines[: len(before) // 10], *lines[-(len(after) // 10) :])
    )


@pytest.mark.parametrize("rotation", [Rotation(100_000, keep=2)])
async def test_a_follower_that_stops_reading_delays_no_other(desk: Desk) -> None:
    one = desk.begin()
    async with (
        desk.reader.follow(desk.log, 0) as stopped,
        desk.reader.follow(desk.log, 0) as pieces,
    ):
        await one.write(b"go\n")
        await until(stopped, "\n")
        await until(pieces, "\n")
        for number in range(3_000):
            await one.write(b"%0999d\n" % number)
            assert (await until(pieces, f"{number}\n")).endswith(f"{number:0999d}\n")

    await one.close()


async def test_a_follower_of_a_finished_log_receives_the_rest_and_ends(desk: Desk) -> None:
    generation = desk.begin()
    other = desk.log.with_name("y.log")
    async with (
        desk.reader.follow(desk.log, 10) as pieces,
        desk.reader.follow(other, 10) as others,
    ):
        await generation.write(b"the rest\n")
        desk.reader.finish(desk.log)
        async with bounded():
            text = "".join([piece async for piece in pieces])
        waiting = asyncio.ensure_future(anext(others))
        await asyncio.sleep(0)
        async with desk.reader.follow(desk.log, 1) as later:  # of the next instance there
            assert await until(later, "\n") == "the rest\n"
            await generation.write(b"more\n")
            assert await until(later, "\n") == "more\n"
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    await generation.close()

    assert text.endswith("the rest\n")


async def test_closed_followers_leak_no_descriptor_and_no_thread(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"text\n")
    before, threads = open_descriptors(), threading.active_count()

    for _ in range(50):
        async with desk.reader.follow(desk.log, 10) as pieces:
            await until(pieces, "\n")
    await until_true(lambda: before == open_descriptors())

    assert threads == threading.active_count()
    await one.close()


async def test_a_cancelled_follower_leaks_no_descriptor(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"text\n")
    before = open_descriptors()

    async def follow() -> None:
        async with desk.reader.follow(desk.log, 10) as pieces:
            async for _ in pieces:
                pass

    for turns in range(20):
        task = asyncio.create_task(follow())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    await until_true(lambda: before == open_descriptors())
    assert open_descriptors() == before
    await one.close()


async def test_close_ends_followers_after_the_existing_output(desk: Desk) -> None:
    one = desk.begin()
    async with desk.reader.follow(desk.log, 10) as pieces:
        await until(pieces, "\n")
        await one.write(b"last words\n")
        desk.reader.close()
        rest = [piece async for piece in pieces]

    assert rest == ["last words\n"]
    await one.close()
