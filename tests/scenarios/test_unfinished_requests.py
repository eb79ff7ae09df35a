"""Requests whose daemon or caller has gone before the response."""

import asyncio
import json
import os
import signal

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API, Answer
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.test_adoption import DEAF, launch
from tests.scenarios.waiting import until, until_async


async def test_the_next_daemon_completes_an_interrupted_delete(daemon: Daemon) -> None:
    await daemon.start(stop_grace=600)
    deaf = await launch(daemon, 0, DEAF)
    await launch(daemon, 1, SERVE)
    await until(lambda: deaf.said("deaf"))
    pid = (await daemon.api.show(0))["pid"]
    deleting = asyncio.create_task(daemon.api.ask("DELETE", f"{API}/instances/0"))
    await daemon.api.until(0, state="stopping")
    await daemon.kill()
    await asyncio.wait([deleting])

    await daemon.start(stop_grace=600)
    assert (await daemon.api.show(0))["state"] == "stopping"
    os.killpg(pid, signal.SIGKILL)

    async def forgotten() -> bool:
        return [each["id"] for each in await daemon.api.show_all()] == [1]

    await until_async(forgotten)
    assert deleting.exception() is not None
    assert not kernel.alive(pid)


async def test_a_start_after_a_delete_outlives_the_daemon(daemon: Daemon) -> None:
    """The last request takes effect."""
    await daemon.start(stop_grace=600)
    deaf = await launch(daemon, 0, DEAF)
    await until(lambda: deaf.said("deaf"))
    pid = (await daemon.api.show(0))["pid"]
    deleting = asyncio.create_task(daemon.api.ask("DELETE", f"{API}/instances/0"))
    await daemon.api.until(0, state="stopping")
    await daemon.api.act(0, "start", wait="spawn", timeout=0)
    await daemon.api.until(0, wanted=True)
    await daemon.kill()
    await asyncio.wait([deleting])
    deaf.write(SERVE)

    await daemon.start(stop_grace=600)
    os.killpg(pid, signal.SIGKILL)

    assert (await daemon.api.until(0, state="running"))["generation"] == 2
    assert deleting.exception() is not None


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_a_stop_in_progress_continues_over_a_restart_in_place(
    daemon: Daemon, method: str
) -> None:
    await daemon.start(stop_grace=600)
    deaf = await launch(daemon, 0, DEAF)
    await until(lambda: deaf.said("deaf"))
    pid = (await daemon.api.show(0))["pid"]
    path = f"{API}/stop-all" if method == "POST" else f"{API}/instances/0"
    asking = asyncio.create_task(daemon.api.ask(method, path))
    await daemon.api.until(0, state="stopping")

    daemon.signal(signal.SIGHUP)
    answer = await asking
    await until(lambda: len(daemon.events("daemon.started")) == 2)
    os.killpg(pid, signal.SIGKILL)

    async def done() -> bool:
        shown = await daemon.api.show_all()
        return [each["state"] for each in shown] == (["stopped"] if method == "POST" else [])

    await until_async(done)
    assert answer.status == 202
    if method == "POST":
        assert answer.body["status"] == "stopping"


async def follow_daemon(daemon: Daemon, end: str, asking: asyncio.Task[Answer]) -> None:
    """Start the next daemon during a request."""
    if end == "restart":
        daemon.signal(signal.SIGHUP)
    else:
        await daemon.kill()
    await asyncio.wait([asking])
    _ = asking.exception()
    if end == "kill":
        await daemon.start(stop_grace=600)
    await until(lambda: len(daemon.events("daemon.started")) == 2)


@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_the_next_daemon_completes_a_restart_begun_by_a_reload(
    daemon: Daemon, end: str
) -> None:
    """Also with autolaunch off: no caller has stopped it."""
    deaf = Program(daemon.workspace, "e0", script=DEAF)
    entry = {"id": 0, "port": daemon.ports.reserve(), "environment": "e0"}
    file = daemon.root / "instances.json"
    file.write_text(json.dumps({"instances": [entry]}))
    await daemon.start(stop_grace=600)
    await daemon.api.ask("POST", f"{API}/reload")
    await until(lambda: deaf.said("deaf"))
    pid = (await daemon.api.show(0))["pid"]
    file.write_text(json.dumps({"instances": [{**entry, "extra_args": "--lowvram"}]}))
    reloading = asyncio.create_task(daemon.api.ask("POST", f"{API}/reload"))
    await daemon.api.until(0, state="stopping")
    await follow_daemon(daemon, end, reloading)
    deaf.write(SERVE)
    os.killpg(pid, signal.SIGKILL)

    shown = await daemon.api.until(0, state="running")

    assert shown["extra_args"] == ["--lowvram"]
    assert shown["wanted"]


@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_an_instance_that_a_reload_was_removing_can_be_started_by_the_next_reload(
    daemon: Daemon, end: str
) -> None:
    """It does not count as deleted by a caller."""
    deaf = Program(daemon.workspace, "e0", script=DEAF)
    entry = {"id": 0, "port": daemon.ports.reserve(), "environment": "e0"}
    file = daemon.root / "instances.json"
    file.write_text(json.dumps({"instances": [entry]}))
    await daemon.start(stop_grace=600)
    await daemon.api.ask("POST", f"{API}/reload")
    await until(lambda: deaf.said("deaf"))
    pid = (await daemon.api.show(0))["pid"]
    file.write_text(json.dumps({"instances": []}))
    reloading = asyncio.create_task(daemon.api.ask("POST", f"{API}/reload"))
    await daemon.api.until(0, state="stopping")
    await follow_daemon(daemon, end, reloading)
    os.killpg(pid, signal.SIGKILL)

    async def forgotten() -> bool:
        return await daemon.api.show_all() == []

    await until_async(forgotten)
    deaf.write(SERVE)
    file.write_text(json.dumps({"instances": [entry]}))
    await daemon.api.ask("POST", f"{API}/reload")

    assert (await daemon.api.until(0, state="running"))["wanted"]


@pytest.mark.parametrize("pause", [True, False], ids=["later", "at once"])
async def test_a_caller_that_sends_no_more_gets_the_answer(daemon: Daemon, *, pause: bool) -> None:
    """As `nc -N` does, and clients that close their half of the connection."""
    Program(daemon.workspace)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(f"POST {API}/instances/0/stop HTTP/1.1\r\nHost: localhost\r\n".encode())
    writer.write(b"Content-Length: 0\r\n\r\n")
    if pause:
        await daemon.api.until(0, state="stopped")
    writer.write_eof()

    answer = (await reader.read()).decode()

    assert answer.startswith("HTTP/1.1 200 ")
    assert '"state": "stopped"' in answer or '"state":"stopped"' in answer
    writer.close()
