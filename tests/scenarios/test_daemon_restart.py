"""Restarts of the daemon in place: scenario 31."""

import asyncio
import os
import signal
import sys
from collections import Counter
from functools import partial

import aiohttp
import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program
from tests.scenarios.restarts import ask, ask_on, has_ended, live, restart, started
from tests.scenarios.waiting import until, until_async

RESTARTS = 8

SIGNALLED = """
import os, runpy, signal, sys, threading, time
from comfysup.app import daemon
from comfysup.api.server.listening import Listening

heard = threading.Event()
install = signal.signal

def install_observed(number, handler):
    def observed(*args):
        handler(*args)
        heard.set()
    return install(number, observed if number == signal.SIGTERM and callable(handler) else handler)

def receive():
    other = threading.Thread(target=threading.Event().wait, daemon=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    other.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.pthread_kill(other.ident, signal.SIGTERM)
    while not heard.is_set():
        time.sleep(0.001)

signal.signal = install_observed
pass_on, run = Listening.pass_on, daemon.run
"""
"""Defines `receive`: another thread receives SIGTERM, and the main thread handles it at once."""

WHEN_CALLERS_ARE_PASSED_ON = """
async def pass_on_late(*args):
    try:
        return await pass_on(*args)
    finally:
        receive()

Listening.pass_on = pass_on_late
"""
WHEN_THE_LOOP_HAS_ENDED = """
def run_to_the_end(main):
    try:
        return run(main)
    finally:
        receive()

daemon.run = run_to_the_end
"""
SERVE_COMFYSUP = """
sys.argv[1:] = ["serve"]
runpy.run_module("comfysup", run_name="__main__", alter_sys=True)
"""


async def test_no_request_is_refused_or_fails_during_a_restart_in_place(daemon: Daemon) -> None:
    """Scenario 31: a hundred requests per second on new and on kept connections."""
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


async def test_kept_connections_survive_restarts_in_place(daemon: Daemon) -> None:
    """Scenario 31: clients with kept connections are not affected at any moment."""
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


async def test_no_kept_connection_is_reset_at_any_moment(daemon: Daemon) -> None:
    """Scenario 31: 24 clients that never retry, each at its own rate."""
    await daemon.start()
    clients = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(24)]
    ended = asyncio.Event()
    asking = [
        asyncio.create_task(ask_on(*each, pause=0.001 * number, ended=ended))
        for number, each in enumerate(clients)
    ]

    await restart(daemon, 3)
    ended.set()
    answers = await asyncio.gather(*asking)

    assert all(answers)
    for _, writer in clients:
        writer.close()


async def test_sighup_restarts_the_daemon_in_place_and_exit_codes_stay_known(
    daemon: Daemon,
) -> None:
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


async def test_sigterm_during_a_restart_in_place_ends_the_daemon(daemon: Daemon) -> None:
    """At any moment, before and after the old program handles it."""
    for number in range(6):
        await daemon.start()
        await daemon.api.ask("POST", f"{API}/daemon/restart")
        await asyncio.sleep(number * 0.05)
        daemon.signal(signal.SIGTERM)

        assert await daemon.ended() == 0


@pytest.mark.parametrize("moment", [WHEN_CALLERS_ARE_PASSED_ON, WHEN_THE_LOOP_HAS_ENDED])
async def test_a_signal_received_by_any_thread_is_handled(daemon: Daemon, moment: str) -> None:
    """A library may start threads that do not block signals."""
    await daemon.start(sys.executable, "-c", f"{SIGNALLED}{moment}{SERVE_COMFYSUP}")

    daemon.signal(signal.SIGHUP)

    assert await daemon.ended() == 0
    assert len(daemon.events("daemon.started")) == 2


async def test_an_exit_during_a_restart_in_place_is_reported_in_full(daemon: Daemon) -> None:
    """Scenario 31: it is a child of the new program, which must not reap it unreported."""
    Program(daemon.workspace, script=f"{SERVE} & read wait < '<directory>/go'; exit 7")
    go = daemon.workspace / "ComfyUI-comm" / "go"
    await daemon.start(stable_after=0.01)
    os.mkfifo(go)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.until(0, consecutive_failures=0)

    daemon.signal(signal.SIGHUP)
    # Between the two programs no thread of the first is there any more, and none of the second yet.
    await until(lambda: kernel.threads(daemon.pid) == 1 or len(daemon.events("daemon.started")) > 1)
    await asyncio.to_thread(go.write_text, "go\n")
    shown = await daemon.api.until(0, generation=2)

    assert shown["last_exit"]["exit_code"] == 7


async def test_the_last_lines_of_an_exit_during_a_restart_in_place_are_kept(
    daemon: Daemon,
) -> None:
    """The ended process no longer holds its output, and the next program does not read it yet."""
    script = f"{SERVE} & read wait < '<directory>/go'; kill -9 $!; seq 1000; say over; exit 7"
    program = Program(daemon.workspace, script=script)
    await daemon.start()
    os.mkfifo(program.directory / "go")
    await daemon.api.start(0, daemon.ports.reserve())

    daemon.signal(signal.SIGHUP)
    # Between the two programs no thread of the first is there any more, and none of the second yet.
    await until(lambda: kernel.threads(daemon.pid) == 1 or len(daemon.events("daemon.started")) > 1)
    await asyncio.to_thread((program.directory / "go").write_text, "go\n")
    await until(lambda: program.said("over"))
    await daemon.api.until(0, generation=2)

    lines = daemon.instance_log(0).splitlines()
    assert lines[1:1001] == [str(number) for number in range(1, 1001)]


async def test_requests_during_a_restart_in_place_are_answered(daemon: Daemon) -> None:
    """Scenario 31, for requests that outlast the old program."""
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
