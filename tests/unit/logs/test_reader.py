import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from comfysup.linux import executor as executors
from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.logs import cursor as log_cursor
from comfysup.logs import reader as log_reader
from comfysup.logs.files import LogFiles, Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from comfysup.model.observed import LineBatch
from tests.scenarios.waiting import bounded
from tests.scenarios.waiting import until as until_true
from tests.unit.linux.children import open_descriptors


@dataclass(frozen=True, slots=True)
class Desk:
    """A log that is written to and read."""

    log: Path
    fifo: Path
    pump: LogPump
    reader: LogReader

    def begin(self) -> "Generation":
        pipe = LogPipe.create(self.fifo, self.log, self.pump)
        return Generation(pipe, pipe.open_for_instance("=== starts"))

    async def history(self, lines: int) -> str:
        async with self.reader.history(self.log, lines) as pieces:
            return "".join([piece async for piece in pieces])


@dataclass(frozen=True, slots=True)
class Generation:
    """What an instance is to its log."""

    pipe: LogPipe
    end: int

    async def write(self, data: bytes) -> None:
        """Returns when it is in the log."""
        for begin in range(0, len(data), 65536):
            os.write(self.end, data[begin : begin + 65536])
            await self.pipe.drain()

    async def close(self) -> None:
        os.close(self.end)
        await self.pipe.close()


@pytest.fixture
def rotation() -> Rotation:
    return Rotation()


@pytest.fixture
async def desk(tmp_path: Path, rotation: Rotation) -> AsyncIterator[Desk]:
    pump = LogPump(rotation)
    pump.start()
    disk = Executor("logs", 4)
    reader = LogReader(pump, disk)
    yield Desk(tmp_path / "logs" / "x.log", tmp_path / "fifo", pump, reader)
    reader.close()
    disk.shutdown()
    await pump.close()


async def until(pieces: AsyncIterator[str], end: str) -> str:
    """What comes, up to that end."""
    text = ""
    async with bounded():
        while not text.endswith(end):
            text += await anext(pieces)
    return text


# ---- history


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
