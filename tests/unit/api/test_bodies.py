"""Invalid bodies are refused with a clear text in bounded time."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator

import pytest

from comfysup.api.server.limits import Limits
from tests.unit.api.site import API, Site, World, one, site_of

START = f"{API}/start-single"
JSON = {"Content-Type": "application/json"}
GOOD = json.dumps(one()).encode()


async def send(site: Site, body: object, **headers: str) -> tuple[int, str, object]:
    """Send bytes as they are and return status, code and detail of the refusal."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with site.client.post(START, data=body, headers={**JSON, **named}) as answer:
        found = await answer.json()
    assert list(site.fleet) == []
    return answer.status, found["code"], found["detail"]


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + b"1" + closing * depth


BAD = {
    "nothing": (b"", "missing", "must be a JSON object, is missing"),
    "only spaces": (b"  ", "json_invalid", "is not JSON: Expecting value (line 1, column 3)"),
    "half": (b'{"id": ', "json_invalid", "is not JSON: Expecting value (line 1, column 8)"),
    "an open text": (b'{"id', "json_invalid", "is not JSON: Unterminated string"),
    "a form": (b"id=0&port=1", "json_invalid", "is not JSON: Expecting value"),
    "a comment": (b'{"id": 0 /* */}', "json_invalid", "is not JSON: Expecting ',' delimiter"),
    "a comma too many": (b'{"id": 0,}', "json_invalid", "is not JSON"),
    "two values": (GOOD + GOOD, "json_invalid", "is not JSON: Extra data"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "json_invalid", "is not JSON: Unexpected"),
    "UTF-16": (GOOD.decode().encode("utf-16-le"), "json_invalid", "is not JSON"),
    "Latin-1": (b'{"id": 0, "name": "gr\xf6\xdfe"}', "json_invalid", "is not UTF-8 at byte 21"),
    "half a character": (b'{"id": 0, "name": "\\ud800"}', "name", "must be 1 to 64 printable"),
    "a list": (b"[]", "object", "must be an object, is an empty list"),
    "a text": (b'"{}"', "object", "must be an object, is text"),
    "null": (b"null", "object", "must be an object, is null"),
    "true": (b"true", "object", "must be an object, is true or false"),
    "a key twice": (b'{"id": 0, "id": 1}', "json_duplicate", "holds the key 'id' twice"),
    "a key twice inside": (b'{"id": 0, "env": {"A": "", "A": ""}}', "json_duplicate", "'A'"),
    "NaN": (b'{"id": NaN}', "json_number", "holds NaN, which is not JSON"),
    "infinity": (b'{"id": -Infinity}', "json_number", "holds -Infinity"),
    "too large": (b'{"id": 1e999}', "json_number", "contains a number that is too large"),
    "5,000 digits": (b'{"id": ' + b"9" * 5_000 + b"}", "json_number", "too many digits"),
    "33 levels": (nested(33), "json_depth", "is nested deeper than 32 levels"),
    "10,000 levels": (nested(10_000), "json_depth", "is nested deeper than 32 levels"),
    "10,000 objects": (nested(10_000, b'{"a":', b"}"), "json_depth", "is nested deeper"),
    "10,000 openings": (b"[" * 10_000, "json_depth", "is nested deeper than 32 levels"),
}


@pytest.mark.parametrize(("body", "type_", "text"), BAD.values(), ids=BAD)
async def test_invalid_json_is_422_with_a_clear_text(body: bytes, type_: str, text: str) -> None:
    async with site_of() as site:
        status, code, detail = await send(site, body)

    assert isinstance(detail, list)
    assert (status, code, detail[0]["type"]) == (422, "invalid_request", type_)
    assert detail[0]["loc"][0] == "body"
    assert text in detail[0]["msg"]


@pytest.mark.parametrize(
    "note",
    [
        nested(32).decode(),
        json.dumps("[" * 40),
        json.dumps('"' + "{" * 40),
        json.dumps("\\") + ", " + json.dumps("[" * 40),
    ],
    ids=["deep", "in a text", "behind a quote", "behind a backslash"],
)
async def test_json_nested_up_to_the_limit_is_accepted(note: str) -> None:
    async with site_of(World(limits=Limits(json_depth=34))) as site:
        data = f'{{"id": 0, "port": 3001, "note": [{note}]}}'.encode()
        async with site.client.post(START, data=data, headers=JSON) as answer:
            found = await answer.json()

    assert (answer.status, found["warnings"]) == (200, ["unknown field 'note'"])


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*"],
)
@pytest.mark.parametrize("path", ["start-single", "start-instances", "stop-all"])
async def test_only_json_is_accepted(kind: str, path: str) -> None:
    async with site_of() as site:
        headers = {"Content-Type": kind}
        async with site.client.post(f"{API}/{path}", data=GOOD, headers=headers) as answer:
            found = await answer.json()

    assert (answer.status, found["code"]) == (415, "unsupported_media_type")


async def test_a_request_without_a_body_needs_no_media_type() -> None:
    async with site_of() as site:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with site.client.post(f"{API}/stop-all", data=b"", headers=headers) as answer:
            status = answer.status

    assert status == 200


async def test_a_charset_is_accepted() -> None:
    async with site_of() as site:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        async with site.client.post(START, data=GOOD, headers=headers) as answer:
            status = answer.status

    assert status == 200


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with site_of() as site:
        answer = await send(site, gzip.compress(GOOD), Content_Encoding="gzip")

    assert answer[:2] == (415, "unsupported_media_type")


async def test_a_body_with_a_content_length_over_the_limit_is_not_read() -> None:
    async with site_of(World(limits=Limits(body_bytes=1_000))) as site:
        answer = await send(site, b" " * 1_001)

    assert answer == (413, "body_too_large", "the body is larger than 1000 bytes")


async def test_a_body_is_read_no_further_than_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with site_of(World(limits=Limits(body_bytes=1_000))) as site:
        answer = await send(site, chunks())

    assert answer[:2] == (413, "body_too_large")


async def test_a_body_as_large_as_allowed_is_read() -> None:
    async with site_of(World(limits=Limits(body_bytes=1_000))) as site:
        headers = JSON
        data = GOOD.ljust(1_000)
        async with site.client.post(START, data=data, headers=headers) as answer:
            status = answer.status

    assert status == 200


async def test_a_body_that_never_arrives_times_out() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.get_running_loop().create_future()

    async with site_of(World(limits=Limits(body_seconds=0.02))) as site:
        answer = await send(site, never())

    assert answer == (408, "request_timeout", "the body did not arrive within 0.02 s")


@pytest.mark.parametrize(
    "body",
    [
        b'"' + rb"\"" * 500_000,
        b"[]," * 330_000,
        b'{"a":' * 200_000,
        b"{" + b'"a":1,' * 160_000 + b'"a":1}',
        b"{" + b",".join(b'"k%d":1' % n for n in range(80_000)) + b', "k79999": 1}',
        b"[" + b"1," * 500_000 + b"1]",
    ],
    ids=["escapes", "lists", "levels", "one key", "many keys", "numbers"],
)
async def test_no_body_of_a_megabyte_delays_other_callers(body: bytes) -> None:
    async with site_of() as site:
        before = time.process_time()
        answer = await send(site, body[: 1 << 20])
        used = time.process_time() - before

    assert 400 <= answer[0] < 500
    assert used < 20  # of processor time: a body that costs more than it is long takes minutes


async def test_field_errors_beyond_the_limit_are_only_counted() -> None:
    async with site_of() as site:
        body = {"instances": [{"port": 0}] * 900}
        status, answer = await site.ask("POST", f"{API}/start-instances", body)

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, len(detail)) == (422, 101)
    assert detail[-1] == {"loc": [], "msg": "and 1700 more", "type": "more_mistakes"}


async def test_more_instances_than_the_limit_are_an_error() -> None:
    async with site_of() as site:
        body = {"instances": [{"id": n} for n in range(1_001)]}
        answer = await site.refused("POST", f"{API}/start-instances", body)

    assert answer[:2] == (422, "invalid_request")
