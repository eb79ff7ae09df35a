"""Access to the API of a real daemon: tokens, origins, arguments, limits (scenarios 45 to 48)."""

import asyncio
import json
import shlex
from contextlib import AsyncExitStack

import aiohttp
import pytest

from comfysup.api.routes.table import ROUTES
from comfysup.api.server.security import Access
from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until

WRITE = "wr1te-token"
READ = "r3ad-token"


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def session_of(daemon: Daemon) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"http://127.0.0.1:{daemon.port}")


# ---- 46: tokens


@pytest.mark.parametrize("token", [None, WRITE[:-1], f"{WRITE}x", READ, WRITE])
async def test_a_token_permits_exactly_the_routes_of_its_access(
    daemon: Daemon, token: str | None
) -> None:
    await daemon.start(variables={"COMFYSUP_TOKEN": WRITE, "COMFYSUP_READ_TOKEN": READ})
    wrong = {}
    async with session_of(daemon) as session:
        for route in ROUTES:
            path = route.path.replace("{ref:[^/]+}", "0")
            async with session.request(route.method, path, headers=bearer(token)) as answer:
                refused = answer.status if answer.status in (401, 403) else None
            if refused != refusal(token, route.access):
                wrong[f"{route.method} {route.path}"] = answer.status

    assert wrong == {}


def refusal(token: str | None, access: Access) -> int | None:
    """Return the status with which a caller with that token is refused."""
    if access is Access.OPEN or token == WRITE:
        return None
    if token == READ:
        return 403 if access is Access.WRITE else None
    return 401


@pytest.mark.parametrize(
    ("variables", "warns"),
    [
        ({"COMFYSUP_HOST": "0.0.0.0"}, True),  # noqa: S104 - what the spec asks for
        ({"COMFYSUP_HOST": "0.0.0.0", "COMFYSUP_TOKEN": WRITE}, False),  # noqa: S104 - likewise
        ({}, False),
    ],
    ids=["public", "with a token", "this machine alone"],
)
async def test_a_public_address_without_a_token_causes_a_warning_at_startup(
    daemon: Daemon, variables: dict[str, str], *, warns: bool
) -> None:
    await daemon.start(variables=variables)

    assert bool(daemon.events("api.unprotected", level="warning")) is warns


# ---- 47: pages of other origins


async def test_a_cross_origin_page_starts_and_stops_nothing(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    port = daemon.ports.reserve()
    await daemon.api.start(0, port)
    body = json.dumps({"id": 1, "port": daemon.ports.reserve()})
    page = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    asked = [
        ("start-single", body, "application/json", page),
        ("start-single", body, "text/plain", {}),
        ("start-single", "id=1", "application/x-www-form-urlencoded", {}),
        ("start-single", body, "multipart/form-data; boundary=x", {}),
        ("stop-all", "", "", page),
        ("stop-all", "x=y", "text/plain", {}),
        ("instances/0/stop", "", "", {"Origin": "null"}),
        ("instances/0/stop", "", "", {"Sec-Fetch-Site": "same-site"}),
    ]
    async with session_of(daemon) as session:
        statuses = []
        for path, data, kind, headers in asked:
            named = {**headers, **({"Content-Type": kind} if kind else {})}
            async with session.post(f"{API}/{path}", data=data, headers=named) as answer:
                statuses.append(answer.status)
        with pytest.raises(aiohttp.WSServerHandshakeError) as websocket:
            await session.ws_connect(f"{API}/events", headers=page)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{API}/status")

    assert statuses == [403, 415, 415, 415, 403, 415, 403, 403]
    assert websocket.value.status == 403
    assert [each["state"] for each in await daemon.api.show_all()] == ["running"]
    assert len(daemon.processes()) == 1


# ---- 48: connections that want nothing

BEGINNINGS = {
    "idle": b"",
    "slow headers": b"POST /api/comfyui/start-single HTTP/1.1\r\nHost: x\r\nX-",
    "slow bodies": (
        b"POST /api/comfyui/start-single HTTP/1.1\r\nHost: x\r\n"
        b'Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{"id": '
    ),
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_two_thousand_idle_connections_do_not_block_other_callers(
    daemon: Daemon, beginning: bytes
) -> None:
    await daemon.start()
    before = kernel.resident_bytes(daemon.pid)
    files = kernel.descriptors(daemon.pid)
    async with AsyncExitStack() as crowd:
        for _ in range(2_000):
            _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
            crowd.callback(writer.close)
            writer.write(beginning)
        async with session_of(daemon) as session:
            for _ in range(20):
                async with session.get(f"{API}/status") as answer:
                    assert answer.status == 200
        assert kernel.descriptors(daemon.pid) - files <= 1_100
        assert kernel.resident_bytes(daemon.pid) - before < 64 << 20
    await until(lambda: kernel.descriptors(daemon.pid) <= files + 5)


# ---- 45: arguments are words, and no shell sees them


@pytest.mark.parametrize(
    "written",
    [
        "--a b --c=d",
        "--name 'two words' \"and 'quotes'\"",
        "--x $(touch canary) `touch canary`; touch canary && touch canary | touch canary",
        "--y '$(touch canary)' > canary < canary &",
        "--z \"a\nb\" '*' ~ $HOME ${HOME} !! {a,b} \\; größe",
    ],
)
async def test_arguments_are_passed_without_a_shell(daemon: Daemon, written: str) -> None:
    program = Program(
        daemon.workspace, script="printf '%s\\0' \"$@\" > '<directory>/new'\n"
        "mv '<directory>/new' '<directory>/words'\nexec sleep 3600"
    )  # fmt: skip
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve(), extra_args=written, wait={"wait": "spawn"})
    file = program.directory / "words"
    await until(file.exists)
    words = file.read_text().split("\0")[:-1]
    expected = shlex.split(written)

    assert words[-len(expected) :] == expected
    assert list(daemon.root.rglob("canary")) == []


OPTIONS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lowvram", action="store_true")
parser.add_argument("--temp-directory", type=str)
"""


async def test_a_caller_without_a_token_passes_no_path_on_a_public_address(daemon: Daemon) -> None:
    """The socket, instances.json and EXTRA_ARGS of the operator accept paths."""
    program = Program(daemon.workspace)
    (program.directory / "comfy").mkdir()
    (program.directory / "comfy" / "cli_args.py").write_text(OPTIONS)
    public = {"COMFYSUP_HOST": "0.0.0.0", "EXTRA_ARGS": "--temp-dir /mine"}  # noqa: S104 - the rule's
    await daemon.start(variables=public)
    body = {"id": 0, "port": daemon.ports.reserve()}
    start = f"{API}/start-single"
    refused = [
        await daemon.api.ask("POST", start, {**body, "extra_args": words}, tcp=True)
        for words in ("--temp-directory /x", "--temp=x", "--new-path /x", "stray")
    ]
    several = {"instances": [{**body, "extra_args": "--lowvram --temp-d x"}]}
    refused.append(await daemon.api.ask("POST", f"{API}/start-instances", several, tcp=True))
    none = await daemon.api.show_all()
    usual = await daemon.api.ask("POST", start, {**body, "extra_args": "--lowvram"}, tcp=True)
    other = {"id": 1, "port": daemon.ports.reserve(), "extra_args": "--temp-directory /x"}
    local = await daemon.api.ask("POST", start, other)

    assert [each.status for each in refused] == [403] * 5
    assert "--temp-directory" in refused[0].detail
    assert all("COMFYSUP_TOKEN" in each.detail for each in refused)
    assert none == []
    assert (usual.status, local.status) == (200, 200)


async def test_any_argument_is_accepted_on_a_loopback_address(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    body = {"id": 0, "port": daemon.ports.reserve(), "extra_args": "--temp-directory /x"}
    answer = await daemon.api.ask("POST", f"{API}/start-single", body, tcp=True)

    assert answer.status == 200
