"""Cross-origin requests and DNS rebinding."""

import pytest

from comfysup.api.server.security import Access, Admission
from tests.unit.api.asking import TARGETS, WRITE, bearer, status_of
from tests.unit.api.site import API, OPEN

HOST = {"Host": "127.0.0.1:8001"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:3001"},
        {"Origin": "http://127.0.0.1:8001.evil.example"},
        {"Origin": "http://evil.example/127.0.0.1:8001"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[::1"},
        {"Origin": "127.0.0.1:8001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://rebound.example:8001", "Host": "rebound.example:8001"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path", "access"), TARGETS)
async def test_a_page_of_another_site_changes_and_follows_nothing(
    method: str, path: str, access: Access, headers: dict[str, str]
) -> None:
    status, code = await status_of(method, path, {**HOST, **headers}, OPEN)

    guarded = access in (Access.WRITE, Access.FOLLOW)
    assert (status == 403) is guarded
    assert (code == "forbidden_origin") is guarded


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": "https://127.0.0.1:8001"},
        {"Origin": "http://LOCALHOST:8001", "Host": "localhost:8001"},
        {"Origin": "http://[::1]:8001", "Host": "[::1]:8001"},
        {"Origin": "http://comfy:8001", "Host": "comfy:8001", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_a_program_and_a_page_of_our_own_may_change_things(headers: dict[str, str]) -> None:
    status, _ = await status_of("POST", f"{API}/stop-all", {**HOST, **headers}, OPEN)

    assert status == 200


async def test_a_page_with_a_token_needs_no_allowed_host() -> None:
    headers = {"Origin": "http://gpu.example:8001", "Host": "gpu.example:8001", **bearer(WRITE)}

    assert await status_of("POST", f"{API}/stop-all", headers) == (200, None)


async def test_a_token_does_not_open_for_a_page_of_another_site() -> None:
    headers = {"Origin": "http://evil.example", **HOST, **bearer(WRITE)}

    assert await status_of("POST", f"{API}/stop-all", headers) == (403, "forbidden_origin")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("gpu.example:8001", 200),
        ("GPU.Example", 200),
        ("127.0.0.1:8001", 200),
        ("localhost:8001", 200),
        ("[::1]:8001", 200),
        ("rebound.example:8001", 403),
        ("gpu.example.evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_a_host_outside_the_allowed_hosts_is_refused(host: str, status: int) -> None:
    admission = Admission(OPEN.is_owner, allowed_hosts=frozenset({"gpu.example"}))

    found, _ = await status_of("GET", f"{API}/status", {"Host": host}, admission)

    assert found == status


async def test_a_page_of_an_allowed_host_may_change_things_behind_a_proxy() -> None:
    admission = Admission(OPEN.is_owner, allowed_hosts=frozenset({"gpu.example"}))
    headers = {"Origin": "https://gpu.example", "Host": "127.0.0.1:8001"}

    assert await status_of("POST", f"{API}/stop-all", headers, admission) == (200, None)
