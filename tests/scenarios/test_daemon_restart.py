"""The daemon starts anew in place: scenario 31."""

import asyncio
import os
import signal
from collections import Counter
from functools import partial

import aiohttp

from comfysup.standin.workspace import build_environment
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.waiting import until, until_async

RESTARTS = 20


async def test_no_request_is_refused_or_fails_while_the_daemon_starts_anew(daemon: Daemon) -> None:
    """Scenario 31: a hundred requests a second, by new connections and by kept ones."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    body = {"id": 0, "port": daemon.ports.reserve(), "name": "main"}
    await daemon.api.ask("POST", f"{API}/start-single", body)
    before = await daemon.api.show(0)
    answers: Counter[str] = Counter()
    restarting = asyncio.create_task(restart(daemon, RESTARTS))
    async with (
        aiohttp.ClientSession() as keeping,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as anew,
    ):
        asked: list[asyncio.Task[None]] = []
        while not restarting.done():
            session = (keeping, anew)[len(asked) % 2]
            asked.append(asyncio.create_task(ask(session, daemon.port, answers)))
            await asyncio.sleep(0.01)
        await asyncio.gather(restarting, *asked)
    after = await daemon.api.show(0)

    assert {"200": len(asked)} == answers
    assert len(daemon.events("daemon.started")) == RESTARTS + 1
    assert [before[key] for key in ("pid", "generation", "started_at")] == [
        after[key] for key in ("pid", "generation", "started_at")
    ]


async def test_kept_connections_go_on(daemon: Daemon) -> None:
    """Scenario 31: a client that keeps connections and asks at the wrong moment notices nothing."""
    await daemon.start()
    host = ("127.0.0.1", daemon.port)
    keepers = [await asyncio.open_connection(*host) for _ in range(50)]
    own = await asyncio.open_unix_connection(str(daemon.run_dir / "api.sock"))
    for each in (*keepers[:25], own):  # the others have said nothing yet
        assert await live(*each)

    for number in range(2):
        daemon.signal(signal.SIGHUP)
        asking = [asyncio.create_task(live(*each)) for each in keepers[number::2]]
        await until_async(partial(started, daemon, number + 2))
        assert all(await asyncio.gather(*asking))
    assert all([await live(*each) for each in (*keepers, own)])

    for _, writer in (*keepers, own):
        writer.close()


async def test_sighup_starts_it_anew_and_exit_codes_stay_known(daemon: Daemon) -> None:
    """Scenario 31."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    body = {"id": 0, "port": daemon.ports.reserve(), "name": "main"}
    await daemon.api.ask("POST", f"{API}/start-single", body)
    pid = (await daemon.api.show(0))["pid"]

    daemon.signal(signal.SIGHUP)
    await until_async(lambda: started(daemon, 2))
    os.kill(pid, signal.SIGUSR1)
    await until_async(lambda: has_ended(daemon))

    assert (await daemon.api.show(0))["last_exit"]["signal"] == "SIGUSR1"


async def test_an_order_to_end_is_not_lost_while_it_starts_anew(daemon: Daemon) -> None:
    """Whatever the moment: before the old program hears it, and after."""
    for number in range(6):
        await daemon.start()
        await daemon.api.ask("POST", f"{API}/daemon/restart")
        await asyncio.sleep(number * 0.05)
        daemon.signal(signal.SIGTERM)

        assert await daemon.ended() == 0


async def test_who_ends_meanwhile_is_told_in_full(daemon: Daemon) -> None:
    """Scenario 31: it is a child of the new program, which must not reap it unseen."""
    Program(daemon.workspace, script=f"{SERVE} & read wait < '<directory>/go'; exit 7")
    go = daemon.workspace / "ComfyUI-comm" / "go"
    await daemon.start(stable_after=0.01)
    os.mkfifo(go)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, consecutive_failures=0)

    daemon.signal(signal.SIGHUP)
    await until(lambda: bool(daemon.events("daemon.restarting")))
    await asyncio.sleep(0.2)  # the old program is gone by then, or about to be
    await asyncio.to_thread(go.write_text, "go\n")
    shown = await daemon.api.until(0, generation=2)

    assert shown["last_exit"]["exit_code"] == 7


async def test_whoever_asks_while_it_starts_anew_is_answered(daemon: Daemon) -> None:
    """Scenario 31, for what takes longer than the rest of the old program."""
    Program(daemon.workspace, script=NEVER_READY)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
    asked = []

    daemon.signal(signal.SIGHUP)
    for _ in range(15):
        asked.append(asyncio.create_task(daemon.api.act(0, "start", timeout=3)))
        await asyncio.sleep(0.01)
    answers = await asyncio.gather(*asked)

    assert {answer.status for answer in answers} == {202}


async def restart(daemon: Daemon, times: int) -> None:
    for number in range(times):
        answer = await daemon.api.ask("POST", f"{API}/daemon/restart")
        assert answer.status == 202
        await until_async(partial(started, daemon, number + 2))


async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Asks on a connection that is there; whether it was answered, and stays."""
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    return (
        head.startswith(b"HTTP/1.1 200 ")
        and b"connection: close" not in head.lower()
        and bool(body)
    )


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
