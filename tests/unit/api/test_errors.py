"""All errors have the same form."""

import pytest
from structlog.testing import capture_logs

from comfysup.supervision.lifecycle_events import WaitFor
from tests.unit.api.site import API, World, one, site_of
from tests.unit.supervision.fakes import spec_of
from tests.unit.supervision.stage import Stage


@pytest.mark.parametrize("path", ["/nowhere", "/api/comfyui", f"{API}/status/", "/livez/", "/%00"])
async def test_an_unknown_path_is_404(path: str) -> None:
    async with site_of() as site:
        answer = await site.refused("GET", path)

    assert answer[:2] == (404, "not_found")


async def test_an_unsupported_method_is_405_with_the_allowed_ones() -> None:
    async with site_of() as site, site.client.put(f"{API}/status") as answer:
        found = await answer.json()

    assert (answer.status, found["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET,HEAD"


async def test_a_cors_preflight_is_refused() -> None:
    async with site_of() as site, site.client.options(f"{API}/stop-all") as answer:
        headers = answer.headers

    assert answer.status == 405
    assert "Access-Control-Allow-Origin" not in headers


async def test_an_internal_error_is_a_500_without_details_and_is_logged() -> None:
    def broken(_instance: object) -> None:
        raise ZeroDivisionError("a secret thing")

    async with site_of(World(stage=Stage(), usage=broken)) as site:
        await site.fleet.start(spec_of(), WaitFor.READY, 5)
        with capture_logs() as logs:
            answer = await site.refused("GET", f"{API}/status")

    assert answer == (500, "internal_error", "internal error; see the daemon's log")
    assert [(entry["event"], entry["path"]) for entry in logs] == [
        ("request.broke", f"{API}/status")
    ]


async def test_an_unknown_expectation_is_417_in_the_form_of_all_errors() -> None:
    async with site_of() as site:
        headers = {"Expect": "200-<b>never</b>"}
        async with site.client.get("/livez", headers=headers) as answer:
            found = await answer.json()

    detail = "cannot meet the expectation '200-<b>never</b>'"
    assert (answer.status, found) == (417, {"detail": detail, "code": "expectation_failed"})


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    async with (
        site_of() as site,
        site.client.post(f"{API}/start-single", json=one(), expect100=True) as answer,
    ):
        status = answer.status

    assert status == 200


async def test_the_root_path_names_the_status_route() -> None:
    async with site_of() as site:
        status, code, detail = (await site.refused("GET", "/"))[:3]

    assert (status, code) == (404, "not_found")
    assert "GET /api/comfyui/status" in str(detail)
