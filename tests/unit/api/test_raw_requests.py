"""Malformed requests in bytes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from comfysup.api.server.limits import Limits
from comfysup.api.server.security import Admission
from comfysup.config.variables import Token
from comfysup.supervision.lifecycle_events import WaitFor
from tests.scenarios.waiting import HANG, bounded
from tests.unit.api.port import GET, START, listening
from tests.unit.api.site import API, World
from tests.unit.supervision.fakes import spec_of


async def test_an_unparsable_request_is_400_in_the_form_of_all_errors(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        answers = []
        for request in (b"\x16\x03\x01\x02\x00\r\n\r\n", GET.replace(b"x", b"x" * 9_000)):
            caller = await port.connect()
            caller.writer.write(request)
            answers.append(await caller.answer())
            await caller.let_go()

    assert [status for status, _ in answers] == [400, 400]
    assert all(body.endswith(b'"code": "bad_request"}') for _, body in answers)
    assert all(b"cannot read the request: " in body for _, body in answers)


async def test_more_headers_than_the_limit_are_400(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        status = await caller.ask(GET[:-2] + b"a: b\r\n" * 65 + b"\r\n")

    assert status == 400


async def test_a_request_head_without_an_end_is_431(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(GET[:-2] + b"".join(b"a: %s\r\n" % (b"b" * 8_000) for _ in range(9)))
        status, body = await caller.answer()
        await caller.let_go()

    assert (status, b"head_too_large" in body) == (431, True)


async def test_the_limit_of_a_request_head_applies_to_each_request(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        head = GET[:-2] + b"a: %s\r\n" % (b"b" * 8_000) + b"\r\n"
        statuses = [await caller.ask(head) for _ in range(20)]

    assert statuses == [200] * 20


async def test_a_body_is_not_parsed_as_a_request_head(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        head, _, body = START.partition(b"\r\n\r\n")
        large = body + b" " * 999_991
        caller.writer.write(head.replace(b": 9", b": 1000000") + b"\r\n\r\n")
        for place in range(0, len(large), 10_000):
            caller.writer.write(large[place : place + 10_000])
            await caller.writer.drain()
        status, _ = await caller.answer()

    assert status == 200


async def test_a_compressed_body_is_never_unpacked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        head, _, body = START.partition(b"\r\n\r\n")
        caller.writer.write(head + b"\r\nContent-Encoding: gzip\r\n\r\n" + body)
        status, _ = await caller.answer()
        again = await caller.ask()

    # Had aiohttp tried to, this would be no gzip, and an error in the log.
    assert (status, again, caplog.records) == (415, 200, [])


async def test_a_body_over_the_limit_is_refused_before_it_has_arrived(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    patience = ClientTimeout(total=HANG)
    async with listening(tmp_path, Limits()) as port, ClientSession(timeout=patience) as session:
        url = f"http://127.0.0.1:{port.number}{API}/start-single"
        async with session.post(url, data=endless(), headers=headers) as answer:
            status = answer.status

    assert status == 413


async def test_a_content_length_over_the_limit_is_refused_immediately(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port, bounded():
        caller = await port.connect()
        head = START.partition(b"\r\n\r\n")[0].replace(b": 9", b": 100000000")
        status = await caller.ask(head + b"\r\n\r\n")

    assert status == 413


async def test_a_token_that_is_not_text_is_401(tmp_path: Path) -> None:
    world = World(admission=Admission(lambda _socket: False, token=Token.of("token")))
    async with listening(tmp_path, Limits(), world) as port:
        caller = await port.connect()
        request = f"GET {API}/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ".encode()
        status = await caller.ask(request + b"\xff\xfe\r\n\r\n")

    assert status == 401


async def test_every_form_of_a_connect_request_is_refused(tmp_path: Path) -> None:
    """aiohttp never answers a CONNECT without a version, and would keep the connection for it."""
    async with listening(tmp_path, Limits()) as port:
        statuses = []
        for pieces in (
            (b"CONNECT  \r\ncontent-length: 36\r\n\r\n",),
            (b"CON", b"NECT a:1\r\n\r\n"),
        ):
            caller = await port.connect()
            for piece in pieces:
                caller.writer.write(piece)
                await caller.writer.drain()
                await asyncio.sleep(0)
            statuses.append((await caller.answer())[0])
            await caller.let_go()

    assert statuses == [405, 405]


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        GET.replace(b"x", b"x" * 9_000),
        GET[:-2] + b"No Name: x\r\n\r\n",
        GET.replace(b"/livez", b"/nowhere"),
        GET[:-2] + b"Expect: wonders\r\n\r\n",
        GET.replace(b"/livez", b"/nowhere")[:-2] + b"Expect: wonders\r\n\r\n",
        GET[:-2] + b"".join(b"a: %s\r\n" % (b"b" * 8_000) for _ in range(9)),
        b"CONNECT nowhere HTTP/1.1\r\n\r\n",
    ],
)
async def test_no_refusal_names_the_server_software(tmp_path: Path, request_: bytes) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        caller.writer.write(request_)
        head = await caller.reader.readuntil(b"\r\n\r\n")

    assert b"python" not in head.lower()
    assert b"aiohttp" not in head.lower()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/instances/{'x' * 5_000}"),
        ("POST", f"{API}/instances/{'%1b' * 1_000}/stop"),
        ("GET", f"{API}/instances/{'x' * 5_000}/logs"),
        ("POST", f"{API}/environments/{'x' * 5_000}/restart"),
        ("GET", f"/{'x' * 5_000}"),
        ("X" * 5_000, "/livez"),
        ("GET", f"{API}/status?{'x' * 5_000}=1"),
        ("GET", f"{API}/events?last_event_id={'x' * 5_000}"),
        ("POST", f"{API}/start-single?environment={'x' * 5_000}"),
    ],
)
async def test_an_error_repeats_a_limited_part_of_the_request_line(
    tmp_path: Path, method: str, path: str
) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        caller.writer.write(head.encode())
        status, body = await caller.answer()

    assert 400 <= status < 500
    assert len(body) < 500


async def test_an_unknown_instance_is_refused_with_the_names_of_some(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        for number in range(50):
            await port.fleet.start(spec_of(number, name=f"{'n' * 60}{number}"), WaitFor.SPAWN, 10)
        caller = await port.connect()
        caller.writer.write(GET.replace(b"/livez", f"{API}/instances/absent".encode()))
        status, body = await caller.answer()

    assert status == 404
    assert b"0 'nnn" in body
    assert b"and 30 more" in body


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 0, "env": {"%s": 5}}',
        '{"id": 0, "env": {"A": "x\\u0000"}, "%s": 1}',
        '{"id": 0, "name": "/%s"}',
        '{"id": 0, "extra_args": "--port=%s"}',
        '{"id": 0, "extra_args": ["%s\\u0000"]}',
        '{"id": 0, "environment": "%s"}',
        '{"id": 0, "gpu": "%s"}',
        '{"id": 0, "%s": 1, "%s": 2}',
        '{"id": 0, "restart": "%s"}',
        '"%s"',
    ],
)
async def test_an_error_repeats_a_limited_part_of_the_body(tmp_path: Path, body: str) -> None:
    async with listening(tmp_path, Limits()) as port:
        caller = await port.connect()
        written = body.replace("%s", "x" * 50_000).encode()
        head = START.partition(b"\r\n\r\n")[0].replace(b": 9", b": %d" % len(written))
        caller.writer.write(head + b"\r\n\r\n" + written)
        status, answer = await caller.answer()

    assert 400 <= status < 500
    assert len(answer) < 1_000
