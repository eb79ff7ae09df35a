"""Following the log of an instance over HTTP."""

from pathlib import Path

import pytest

from comfysup.logs.files import Rotation
from tests.scenarios.waiting import bounded, until
from tests.unit.api.logged import EVENTS, Desk, desk_of, events_until, text_until
from tests.unit.api.site import API


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
