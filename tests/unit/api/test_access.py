"""Access control: tokens and the unix socket."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hmac import compare_digest
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from comfysup.api.server.security import Access, Admission
from comfysup.config.variables import Token
from comfysup.linux.host.ports import is_owner
from tests.unit.api.asking import GUARDED, READ, TARGETS, WRITE, bearer, status_of
from tests.unit.api.site import API, OPEN, World, one, several, site_of

# ---- tokens


@pytest.mark.parametrize(("method", "path", "access"), TARGETS)
async def test_without_a_token_only_open_routes_are_served(
    method: str, path: str, access: Access
) -> None:
    status, code = await status_of(method, path, {})

    assert (code == "unauthorized") is (access is not Access.OPEN)
    assert (status == 401) is (access is not Access.OPEN)


@pytest.mark.parametrize(("method", "path", "access"), TARGETS)
async def test_a_wrong_token_is_refused_on_every_route(
    method: str, path: str, access: Access
) -> None:
    status, code = await status_of(method, path, bearer(WRITE + "x"))

    assert (code == "unauthorized") is (access is not Access.OPEN)
    assert (status == 401) is (access is not Access.OPEN)


@pytest.mark.parametrize(("method", "path", "access"), TARGETS)
async def test_the_write_token_opens_everything(method: str, path: str, access: Access) -> None:
    _, code = await status_of(method, path, bearer(WRITE))

    assert code in (None, "unknown_instance", "unknown_environment", "invalid_request")


@pytest.mark.parametrize(("method", "path", "access"), TARGETS)
async def test_the_read_token_changes_nothing(method: str, path: str, access: Access) -> None:
    status, code = await status_of(method, path, bearer(READ))

    assert (status == 403) is (access is Access.WRITE)
    assert (code == "forbidden") is (access is Access.WRITE)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        WRITE,
        f"Basic {WRITE}",
        f"Bearer  {WRITE} x",
        f"Bearer {WRITE.upper()}",
        f"Bearer {WRITE[:-1]}",
        "Bearer \udcff\udcfe",
        "Bearer größe",
        "Bearer " + "x" * 8_000,
    ],
)
async def test_a_header_that_is_not_the_token_is_401(header: str) -> None:
    status, code = await status_of("GET", f"{API}/status", {"Authorization": header})

    assert (status, code) == (401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_bearer_is_case_insensitive(scheme: str) -> None:
    status, _ = await status_of("GET", f"{API}/status", {"Authorization": f"{scheme} {WRITE}"})

    assert status == 200


async def test_a_401_names_the_scheme_and_does_not_repeat_the_token() -> None:
    async with site_of(World(admission=GUARDED)) as site:
        path = f"{API}/status"
        async with site.client.get(path, headers=bearer("my-other-secret")) as wrong:
            text = await wrong.text()
        async with site.client.get(path) as missing:
            pass

    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="comfysup"'
    assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="comfysup", error="invalid_token"'
    assert "my-other-secret" not in text


async def test_with_only_a_read_token_set_network_callers_cannot_change_anything() -> None:
    admission = Admission(OPEN.is_owner, read_token=Token.of(READ))

    assert await status_of("POST", f"{API}/stop-all", {}, admission) == (401, "unauthorized")
    assert await status_of("POST", f"{API}/stop-all", bearer(READ), admission) == (403, "forbidden")
    assert await status_of("GET", f"{API}/status", bearer(READ), admission) == (200, None)


async def test_reading_requires_the_write_token_if_it_is_the_only_one() -> None:
    admission = Admission(OPEN.is_owner, token=Token.of(WRITE))

    assert await status_of("GET", f"{API}/status", {}, admission) == (401, "unauthorized")
    assert await status_of("GET", f"{API}/status", bearer(WRITE), admission) == (200, None)


@pytest.mark.parametrize("path", ["start-single", "start-instances"])
async def test_the_write_token_may_set_variables(path: str) -> None:
    body: object = one(env={"HF_TOKEN": "x"})
    async with site_of(World(admission=GUARDED)) as site:
        data = several(body) if path == "start-instances" else body
        async with site.client.post(f"{API}/{path}", json=data, headers=bearer(WRITE)) as answer:
            status = answer.status
        spec = site.fleet.find("0").spec

    assert (status, spec.env) == (200, (("HF_TOKEN", "x"),))


async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token is compared by `compare_digest`, regardless of the other."""
    compared = []

    def compare(given: str, expected: str) -> bool:
        compared.append((given, expected))
        return compare_digest(given, expected)

    monkeypatch.setattr("comfysup.config.variables.compare_digest", compare)
    for given in ("x", WRITE, READ):
        compared.clear()
        await status_of("GET", f"{API}/status", bearer(given))
        digest = Token.of(given).digest
        assert compared == [(digest, Token.of(WRITE).digest), (digest, Token.of(READ).digest)]


async def test_a_repr_contains_no_token() -> None:
    assert WRITE not in repr(GUARDED)
    assert READ not in repr(GUARDED)


# ---- the unix socket


@asynccontextmanager
async def over_socket(world: World, path: Path) -> AsyncIterator[ClientSession]:
    async with AsyncExitStack() as resources:
        site = await resources.enter_async_context(site_of(world))
        await site.serve_socket(path)
        connector = UnixConnector(str(path))
        session = ClientSession("http://comfysup", connector=connector)
        yield await resources.enter_async_context(session)


async def test_the_daemons_user_needs_no_token_on_the_socket(tmp_path: Path) -> None:
    admission = Admission(is_owner, token=Token.of(WRITE))
    async with over_socket(World(admission=admission), tmp_path / "socket") as session:
        body = one(env={"HF_TOKEN": "x"})
        async with session.post(f"{API}/start-single", json=body) as answer:
            status = answer.status

    assert status == 200


@pytest.mark.parametrize("path", ["/livez", f"{API}/status"])
async def test_another_user_finds_the_socket_closed(tmp_path: Path, path: str) -> None:
    admission = Admission(lambda _socket: False)
    async with (
        over_socket(World(admission=admission), tmp_path / "socket") as session,
        session.get(path) as answer,
    ):
        found = await answer.json()

    assert (answer.status, found["code"]) == (403, "forbidden")
