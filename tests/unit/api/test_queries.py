"""Queries: bounded numbers, known values, no duplicates."""

import pytest

from tests.unit.api.site import API, one, site_of

ONE = f"{API}/start-single"


@pytest.mark.parametrize(
    ("query", "loc", "text"),
    [
        ("wait=foo", "wait", "'ready' or 'spawn'"),
        ("wait=", "wait", "'ready' or 'spawn'"),
        ("timeout=nan", "timeout", "finite"),
        ("timeout=inf", "timeout", "finite"),
        ("timeout=-1", "timeout", "greater than or equal to 0"),
        ("timeout=3601", "timeout", "less than or equal to 3600"),
        ("timeout=soon", "timeout", "valid number"),
        ("timeout=", "timeout", "valid number"),
        ("timeout=1&timeout=2", "timeout", "must be given once"),
        ("environment=..%2Fx", "environment", "must be 1 to 64 letters"),
        ("environment=a%3Bb", "environment", "must be 1 to 64 letters"),
        ("environment=", "environment", "must be 1 to 64 letters"),
    ],
)
async def test_an_invalid_value_is_422_with_the_parameter(query: str, loc: str, text: str) -> None:
    async with site_of() as site:
        status, answer = await site.ask("POST", f"{ONE}?{query}", one())
        known = list(site.fleet)

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, answer["code"], detail[0]["loc"]) == (422, "invalid_request", ["query", loc])
    assert text in detail[0]["msg"]
    assert known == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/livez"),
        ("GET", f"{API}/status"),
        ("POST", f"{API}/stop-all"),
        ("POST", f"{API}/start-single"),
        ("POST", f"{API}/instances/0/stop"),
        ("DELETE", f"{API}/instances/0"),
    ],
)
async def test_an_unknown_parameter_is_refused_everywhere(method: str, path: str) -> None:
    async with site_of() as site:
        answer = await site.refused(
            method, f"{path}?tiemout=5", one() if method == "POST" else None
        )

    assert answer[:2] == (422, "invalid_request")
    assert "unknown query parameter 'tiemout'" in answer[2]


async def test_the_nearest_known_parameter_is_named() -> None:
    async with site_of() as site:
        answer = await site.refused("POST", f"{ONE}?tiemout=5", one())

    assert "unknown query parameter 'tiemout': did you mean 'timeout'?" in answer[2]


async def test_a_wait_of_no_time_at_all_still_asks() -> None:
    async with site_of() as site:
        status, _ = await site.ask("POST", f"{ONE}?timeout=0", one())
        await site.stage.until(lambda: site.fleet.find("0").life.phase == "running")

    assert status == 202
