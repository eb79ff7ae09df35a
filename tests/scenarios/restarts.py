"""Restarts of a daemon in place, and concurrent callers."""

import asyncio
from collections import Counter
from functools import partial

import aiohttp

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import until_async


def has_started(daemon: Daemon, times: int) -> bool:
    return len(daemon.events("daemon.started")) >= times


async def restart(daemon: Daemon, times: int) -> None:
    for number in range(times):
        answer = await daemon.api.ask("POST", f"{API}/daemon/restart")
        assert answer.status == 202
        await until_async(partial(started, daemon, number + 2))


async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send a request on an open connection; return whether it was answered and stays open."""
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    return (
        head.startswith(b"HTTP/1.1 200 ")
        and b"connection: close" not in head.lower()
        and bool(body)
    )


async def ask_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pause: float,
    ended: asyncio.Event,
) -> int:
    """Send requests on one connection until `ended`; return their number. A reset raises."""
    answers = 0
    while not ended.is_set():
        assert await live(reader, writer)
        answers += 1
        await asyncio.sleep(pause)
    return answers


async def ask(session: aiohttp.ClientSession, port: int, answers: Counter[str]) -> None:
    try:
        async with session.get(f"http://127.0.0.1:{port}{API}/status") as answer:
            await answer.read()
            answers[str(answer.status)] += 1
    except aiohttp.ClientError as error:
        answers[repr(error)] += 1


async def started(daemon: Daemon, times: int) -> bool:
    return len(daemon.events("daemon.started")) >= times


async def has_ended(daemon: Daemon) -> bool:
    return (await daemon.api.show(0))["last_exit"] is not None
