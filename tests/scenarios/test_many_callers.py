"""Concurrent callers with different requests: scenario 9."""

import asyncio
import json
import random
from typing import Any

import pytest

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import bounded

# The lock is held by the shell and all that it starts, until the last of them is gone.
ALONE = 'exec 9>>"$said.lock"; flock -n 9 || say two; say one $$; '


class Caller:
    """One open connection, so that requests arrive in the order in which they are sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, daemon: Daemon) -> "Caller":
        caller = cls(*await asyncio.open_unix_connection(daemon.run_dir / "api.sock"))
        caller.send("GET", "/livez")
        await caller.answer()
        return caller

    def send(self, method: str, path: str) -> None:
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def answer(self) -> tuple[int, Any]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length:")[2].split()[0])
        body = await self._reader.readexactly(length)
        return int(head.split()[1]), json.loads(body)

    def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("last", ["start", "restart", "stop"])
@pytest.mark.parametrize("seed", range(4))
async def test_twenty_concurrent_requests_make_one_process_and_the_last_takes_effect(
    daemon: Daemon, seed: int, last: str
) -> None:
    """Scenario 9."""
    program = Program(daemon.workspace, script=ALONE + SERVE)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())
    chance = random.Random(seed)
    wishes = [*chance.choices(["start", "stop", "restart"], k=19), last]
    callers = [await Caller.connect(daemon) for _ in wishes]

    for caller, wish in zip(callers, wishes, strict=True):
        caller.send("POST", f"{API}/instances/0/{wish}")
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() / 50)
    async with bounded():
        answers = await asyncio.gather(*(each.answer() for each in callers))
    shown = await daemon.api.show(0)

    assert not program.said("two")
    assert answers[-1][0] == 200, answers[-1]
    for (status, body), wish in zip(answers, wishes, strict=True):
        assert status == 200 or (status == 500 and "stopped while starting" in body["detail"])
        assert wish != "stop" or status == 200
    assert shown["state"] == ("stopped" if last == "stop" else "running")
    assert len(daemon.processes()) == (0 if last == "stop" else 1)
    for caller in callers:
        caller.close()


async def test_twenty_concurrent_first_starts_make_one_process(daemon: Daemon) -> None:
    """Scenario 9, for a new instance."""
    program = Program(daemon.workspace, script=ALONE + SERVE)
    port = daemon.ports.reserve()
    await daemon.start()

    answers = await asyncio.gather(*(daemon.api.start(0, port) for _ in range(20)))

    assert {200} == {answer.status for answer in answers}
    assert len(program.said("one")) == 1
    assert not program.said("two")
