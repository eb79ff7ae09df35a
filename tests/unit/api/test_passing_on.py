"""Connections handed over to another program: none is reset at any moment."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from comfysup.api.server.connections import Caller
from comfysup.api.server.limits import Limits
from comfysup.api.server.listening import Inherited
from tests.scenarios.waiting import until
from tests.unit.api.port import GET, START, Port, listening
from tests.unit.api.site import world_of
from tests.unit.supervision.fakes import SlowLauncher


async def pass_on(port: Port) -> list[Caller]:
    """Hand over all connections, including those not accepted yet."""
    inherited = await port.doors.pass_on(port.fleet.dismiss)
    callers = [*inherited.tcp_callers, *inherited.own_callers]
    for each in (*inherited.tcp, *inherited.own):
        with socket.socket(fileno=each) as door, suppress(BlockingIOError):
            while True:
                callers.append(Caller(door.accept()[0].detach()))
    return callers


async def passed_on(port: Port) -> int:
    """Hand over all connections; return their number."""
    callers = await pass_on(port)
    for each in callers:
        os.close(each.descriptor)
    return len(callers)


@asynccontextmanager
async def next_program(directory: Path, callers: list[Caller]) -> AsyncIterator[Port]:
    """Another application that continues with those connections."""
    tcp, own = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    own.bind(f"\0comfysup-test-{directory}")
    inherited = Inherited([tcp.detach()], [own.detach()], callers)
    async with listening(directory, Limits(), inherited=inherited) as port:
        yield port


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_accepted_during_the_handover_is_passed_on(
    tmp_path: Path, turns: int
) -> None:
    """At any stage of its acceptance."""
    async with listening(tmp_path, Limits()) as port:
        with socket.create_connection(("127.0.0.1", port.number)):
            for _ in range(turns):
                await asyncio.sleep(0)

            assert await passed_on(port) == 1


async def test_a_handover_waits_for_a_free_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart must not fail after some of the sockets were closed."""
    async with listening(tmp_path, Limits()) as port:
        doors = len(port.doors._tcp[0].sockets) + len(port.doors._own.sockets)
        exhausted = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        dup, errors = os.dup, iter([*[None] * doors, exhausted])

        def duplicate(descriptor: int) -> int:
            if error := next(errors, None):
                raise error
            return dup(descriptor)

        with socket.create_connection(("127.0.0.1", port.number)):
            await until(lambda: len(port.doors._gates[0]))
            monkeypatch.setattr(os, "dup", duplicate)

            assert await passed_on(port) == 1


async def test_a_received_request_is_answered_by_the_old_or_the_new_program(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(GET)
        callers = await pass_on(port)

        async with next_program(tmp_path, callers):
            assert (await caller.answer())[0] == 200
            assert await caller.ask() == 200


async def test_a_waiting_caller_is_answered_before_the_handover_of_its_connection(
    tmp_path: Path,
) -> None:
    """The response does not announce the end of the connection."""
    world = world_of(SlowLauncher())
    async with listening(tmp_path, Limits(), world) as port:
        caller = await port.connect()
        caller.writer.write(START)
        await until(lambda: bool(list(port.fleet)))
        callers = await pass_on(port)

        assert (await caller.answer())[0] == 202
        async with next_program(tmp_path, callers):
            assert await caller.ask() == 200


BODY = START.partition(b"\r\n\r\n")[2]
CHUNKED = (
    START.partition(b"Content-Length")[0]
    + b"Transfer-Encoding: chunked\r\n\r\n9\r\n"
    + BODY
    + b"\r\n0\r\n\r\n"
)
BEFORE = {
    "nothing": (b"", 0),
    "a request": (GET, 1),
    "two at once": (GET + GET, 2),
    "one with a body": (START, 1),
    "many": (GET + START + GET, 3),
}


@pytest.mark.parametrize(("before", "answers"), BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("length", [0, 1, 9, len(GET) - 1])
async def test_an_incomplete_request_head_is_passed_on_with_its_connection(
    tmp_path: Path, before: bytes, answers: int, length: int
) -> None:
    """Regardless of earlier requests in the same bytes."""
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(before + GET[:length])
        for _ in range(answers):
            await caller.answer()
        callers = await pass_on(port)
        assert len(callers) == 1

        async with next_program(tmp_path, callers):
            caller.writer.write(GET[length:])
            assert (await caller.answer())[0] == 200
            assert await caller.ask() == 200


async def test_a_received_connection_can_be_handed_over_again(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(GET[:5])
        callers = await pass_on(port)
        async with next_program(tmp_path / "1", callers) as second:
            caller.writer.write(GET[5:11])
            callers = await pass_on(second)
            async with next_program(tmp_path / "2", callers):
                caller.writer.write(GET[11:])

                assert (await caller.answer())[0] == 200


async def test_a_connection_after_a_body_of_unknown_length_is_passed_on(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        assert await caller.ask(CHUNKED) == 200

        assert await passed_on(port) == 1


async def test_connections_of_the_port_and_the_socket_are_passed_on(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        _, writer = await asyncio.open_unix_connection(str(port.socket))
        assert await caller.ask() == 200

        assert await passed_on(port) == 2
        writer.close()
