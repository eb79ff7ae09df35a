"""The history of a log, its line batches, and volumes that do not respond."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from comfysup.linux import executor as executors
from comfysup.linux.executor import UnresponsiveError
from comfysup.logs import cursor as log_cursor
from comfysup.logs import reader as log_reader
from comfysup.logs.files import LogFiles, Rotation
from comfysup.model.observed import LineBatch
from tests.scenarios.waiting import bounded
from tests.unit.linux.children import open_descriptors
from tests.unit.logs.desk import Desk


async def test_history_contains_the_last_lines_as_displayed(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"first\n\r  0%\r 50%\r100%\n\x1b[31mred\x1b[0m\0\xff\nno end")

    assert await desk.history(3) == "100%\nred\ufffd\nno end"
    await one.close()


async def test_a_missing_log_has_no_history(desk: Desk) -> None:
    assert await desk.history(9) == ""


async def test_an_unreadable_log_raises_immediately(desk: Desk) -> None:
    desk.log.parent.symlink_to(desk.log.parent)

    with pytest.raises(OSError, match="symbolic links"):
        await desk.history(9)


async def test_a_line_of_ten_megabytes_is_returned_in_small_pieces(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"x" * 10_000_000 + b"\n")
    await one.close()

    async with desk.reader.history(desk.log, 1) as pieces:
        found = [piece async for piece in pieces]

    assert "".join(found) == "x" * 10_000_000 + "\n"
    assert max(map(len, found)) <= 3 * log_cursor.BLOCK


# ---- news


async def until_news(pieces: AsyncIterator[LineBatch], end: str) -> list[LineBatch]:
    found: list[LineBatch] = []
    async with bounded():
        while not (found and (found[-1].text.endswith(end) or found[-1].unfinished == end)):
            found.append(await anext(pieces))
    return found


async def test_line_batches_contain_complete_lines_and_the_unfinished_one(desk: Desk) -> None:
    one = desk.begin()
    await one.pipe.drain()
    async with desk.reader.news(desk.log, 0, "") as pieces:
        await one.write(b"one\ntwo\n\r 10%")
        first = await until_news(pieces, " 10%")
        await one.write(b"\r 50%")
        second = await until_news(pieces, " 50%")
        await one.write(b"\r100%\n")
        third = await until_news(pieces, "100%\n")

    assert [
        ("", "".join(news.text for news in first)),
        (second[-1].unfinished, "".join(news.text for news in second)),
        (third[-1].unfinished, "".join(news.text for news in third)),
    ] == [("", "one\ntwo\n"), (" 50%", ""), ("", "100%\n")]
    await one.close()


@pytest.mark.parametrize("rotation", [Rotation(2_000, keep=50)])
async def test_line_batches_resume_at_any_position(desk: Desk) -> None:
    one = desk.begin()
    for number in range(500):
        await one.write(b"%050d\n" % number)
    lines = [f"{number:050}\n" for number in range(500)]
    async with desk.reader.news(desk.log, 500, "") as pieces:
        news = await until_news(pieces, "499\n")

    for index, each in enumerate(news[:-1]):
        async with desk.reader.news(desk.log, 0, each.place) as pieces:
            rest = await until_news(pieces, "499\n")
        told = "".join(one.text for one in (*news[: index + 1], *rest))
        assert told == "".join(lines)
    await one.close()


async def test_an_invalid_position_equals_no_position(desk: Desk) -> None:
    one = desk.begin()
    await one.write(b"one\ntwo\n")

    async with desk.reader.news(desk.log, 1, "nowhere") as pieces:
        news = await until_news(pieces, "two\n")

    assert [each.text for each in news] == ["two\n"]
    await one.close()


# ---- a disk that stalls


async def test_readers_of_an_unresponsive_volume_leak_no_descriptor(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would otherwise leave a call that waits for the volume."""
    disk, answers = desk.reader._disk, threading.Event()
    volume = log_reader._volume(desk.log)
    hanging = [disk.submit(answers.wait, volume) for _ in range(disk._share)]
    monkeypatch.setattr(executors, "STALLED_AFTER", -1.0)
    for _ in range(100):
        with pytest.raises(UnresponsiveError):
            await desk.history(10)

    assert not disk._shares[volume].waiting
    answers.set()
    await asyncio.wait(hanging)


async def test_a_cursor_that_was_abandoned_opens_nothing_any_more(desk: Desk) -> None:
    generation = desk.begin()
    await generation.write(b"a line\n")
    before = open_descriptors()
    cursor = log_cursor.Cursor(LogFiles(desk.log), lambda: None)

    assert not cursor.abandon()
    cursor.seek_lines(10)

    assert open_descriptors() == before
    await generation.close()
