"""The log of an instance over HTTP, in all of its formats."""

import pytest

from comfysup.logs.files import Rotation
from tests.unit.api.logged import EVENTS, Desk, events_until, text_until
from tests.unit.api.site import API, one


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
