"""Idle and slow connections do not block other callers."""

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from comfysup.api.server.app import make_app
from comfysup.api.server.limits import Limits
from comfysup.api.server.listening import ListenError, listen
from comfysup.api.services import StatusBoard
from comfysup.supervision.fleet import Fleet
from tests.scenarios.waiting import HANG, bounded
from tests.unit.api.port import GET, START, Port, listening
from tests.unit.api.site import RESERVED_PORT, World, services_of, world_of
from tests.unit.supervision.fakes import FakeLauncher, SlowLauncher


async def over_socket(port: Port) -> int:
    """Return the status of a request over the unix socket."""
    connector = UnixConnector(str(port.socket))
    async with (
        ClientSession("http://comfysup", connector=connector) as session,
        session.get("/livez") as answer,
    ):
        return answer.status


async def test_the_longest_idle_connection_is_closed_for_a_new_one(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits(connections=3)) as port:
        first, second, third = [await port.connect() for _ in range(3)]
        for caller in (first, second, third, first):
            assert await caller.ask() == 200
        newest = await port.connect()
        assert await newest.ask() == 200
        await second.let_go()
        others = [await first.ask(), await third.ask()]

    assert others == [200, 200]


async def test_two_hundred_callers_connect_to_the_socket_while_the_daemon_is_busy(
    tmp_path: Path,
) -> None:
    """All of them connect before the loop accepts the first, as while it is busy."""
    async with listening(tmp_path, Limits()) as port:
        callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(200)]
        for caller in callers:
            caller.settimeout(0)

        refused = [caller.connect_ex(str(port.socket)) for caller in callers]

        for caller in callers:
            caller.close()
    assert refused == [0] * 200


async def test_a_connection_with_several_requests_counts_once(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits(connections=2)) as port:
        first = await port.connect()
        statuses = [await first.ask()]
        second = await port.connect()
        statuses += [await second.ask(), await first.ask()]

    assert statuses == [200] * 3


async def test_a_closed_connection_does_not_count(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits(connections=2)) as port:
        first, second = await port.connect(), await port.connect()
        statuses = [await first.ask(), await second.ask()]
        await second.hang_up()
        statuses += [await over_socket(port), await over_socket(port)]  # by then it is noticed
        third = await port.connect()
        statuses += [await third.ask(), await first.ask()]

    assert statuses == [200] * 6


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /", GET[:-2], START[:-1], b"\r\n"],
    ids=["idle", "half a line", "half a head", "half a body", "empty lines"],
)
async def test_a_slow_request_does_not_block_other_callers(
    tmp_path: Path, beginning: bytes
) -> None:
    async with listening(tmp_path, Limits(connections=20)) as port:
        crowd = [await port.connect() for _ in range(100)]
        for caller in crowd:
            caller.writer.write(beginning)
        statuses = [await (await port.connect()).ask() for _ in range(30)]
        await asyncio.gather(*(caller.let_go() for caller in crowd))

    assert statuses == [200] * 30


async def test_an_unread_response_does_not_block_other_callers(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits(connections=5)) as port:
        crowd = [await port.connect(limit=1) for _ in range(5)]
        for caller in crowd:
            caller.writer.write(GET * 20_000)
        statuses = [await (await port.connect()).ask() for _ in range(20)]

    assert statuses == [200] * 20


async def test_a_connection_with_a_request_in_progress_is_not_closed(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with listening(tmp_path, Limits(connections=2), world_of(launcher)) as port:
        worker = await port.connect()
        worker.writer.write(START)
        await launcher.waiting.wait()
        statuses = [await (await port.connect()).ask() for _ in range(5)]
        launcher.gate.set()
        status, _ = await worker.answer()

    assert (status, statuses) == (200, [200] * 5)


async def test_a_connection_beyond_the_limit_is_answered_with_503(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with listening(tmp_path, Limits(connections=1), world_of(launcher)) as port:
        worker = await port.connect()
        worker.writer.write(START)
        await launcher.waiting.wait()
        refused = await port.connect()
        status, body = await refused.answer()
        await refused.let_go()
        launcher.gate.set()
        await worker.answer()

    assert (status, b"too_many_connections" in body) == (503, True)


async def test_the_unix_socket_accepts_connections_when_the_port_is_full(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with listening(tmp_path, Limits(connections=1), world_of(launcher)) as port:
        worker = await port.connect()
        worker.writer.write(START)
        await launcher.waiting.wait()
        status = await over_socket(port)

    assert status == 200


async def test_a_closed_connection_frees_its_slot(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with listening(tmp_path, Limits(connections=1), world_of(launcher)) as port:
        for _ in range(5):
            worker = await port.connect()
            worker.writer.write(START)
            await launcher.waiting.wait()
            launcher.waiting.clear()
            await worker.hang_up()
            await port.fleet.stop(port.fleet.find("0"))
        status = await (await port.connect()).ask()

    assert status == 200


@pytest.mark.parametrize("beginning", [b"", b"GET /livez HTTP/1.1\r\nHost: ", GET + b"G"])
async def test_an_incomplete_request_is_disconnected_after_the_limit(
    tmp_path: Path, beginning: bytes
) -> None:
    async with listening(tmp_path, Limits(idle_seconds=0.02)) as port, bounded():
        caller = await port.connect()
        caller.writer.write(beginning)
        await caller.let_go()
        assert caller.reader.at_eof() or caller.reader.exception()


async def test_a_disconnected_waiting_caller_leaves_only_the_tasks_of_the_instance(
    tmp_path: Path,
) -> None:
    launcher = SlowLauncher()
    async with listening(tmp_path, Limits(), world_of(launcher)) as port:
        before = asyncio.all_tasks()
        caller = await port.connect()
        caller.writer.write(START.replace(b"start-single", b"start-single?timeout=0.5"))
        await launcher.waiting.wait()
        waiting = asyncio.all_tasks() - before
        await caller.hang_up()
        ended = {task for task in waiting if task.get_name() not in ("instance 0", "launch 0")}
        await asyncio.wait(ended, timeout=HANG)
        left = asyncio.all_tasks() - before

    assert {task.get_name() for task in left} == {"instance 0", "launch 0"}


async def test_other_users_cannot_connect_to_the_socket(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        mode = port.socket.stat().st_mode & 0o777

    assert mode == 0o600


async def test_listening_on_a_port_in_use_raises(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port, AsyncExitStack() as resources:
        world = World()
        fleet = Fleet(world.stage.context, RESERVED_PORT)
        app = make_app(services_of(fleet, StatusBoard(), world), world.admission)
        with pytest.raises(ListenError) as told:
            await listen(app, "127.0.0.1", port.number, tmp_path / "other", resources)

    assert str(told.value) == (
        f"cannot listen on 127.0.0.1:{port.number}: Address already in use; "
        "COMFYSUP_HOST and COMFYSUP_PORT name another address"
    )


async def test_listening_in_a_missing_directory_raises(tmp_path: Path) -> None:
    async with AsyncExitStack() as resources:
        world = world_of(FakeLauncher())
        fleet = Fleet(world.stage.context, RESERVED_PORT)
        app = make_app(services_of(fleet, StatusBoard(), world), world.admission)
        with pytest.raises(ListenError) as told:
            await listen(app, "127.0.0.1", 0, tmp_path / "no" / "socket", resources)

    assert "No such file or directory" in str(told.value)
