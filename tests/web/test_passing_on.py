"""Connections that another program goes on with: nobody is reset, whatever the moment."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from comfysup.web.limits import Limits
from tests.web.port import GET, Port, listening


async def passed_on(port: Port) -> int:
    """Passes on what there is; returns how many connections, those that were not accepted too."""
    inherited = await port.doors.pass_on()
    callers = [*inherited.tcp_callers, *inherited.own_callers]
    for each in (*inherited.tcp, *inherited.own):
        with socket.socket(fileno=each) as door, suppress(BlockingIOError):
            while True:
                callers.append(door.accept()[0].detach())
    for each in callers:
        os.close(each)
    return len(callers)


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_comes_at_that_moment_is_passed_on(tmp_path: Path, turns: int) -> None:
    """However many turns of the loop its acceptance has got."""
    async with listening(tmp_path, Limits()) as port:
        with socket.create_connection(("127.0.0.1", port.number)):
            for _ in range(turns):
                await asyncio.sleep(0)

            assert await passed_on(port) == 1


async def test_a_request_that_is_here_is_answered_first(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(GET)
        passing = asyncio.create_task(passed_on(port))

        assert (await caller.answer())[0] == 200
        assert await passing == 1


async def test_half_a_head_cannot_be_passed_on(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(GET[:9])
        await asyncio.sleep(0.02)

        assert await passed_on(port) == 0
        assert await caller.reader.read() == b""


async def test_callers_of_both_doors_are_passed_on(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        _, writer = await asyncio.open_unix_connection(str(port.socket))
        assert await caller.ask() == 200

        assert await passed_on(port) == 2
        writer.close()
