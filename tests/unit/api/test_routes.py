"""The route table, which defines access, parsing and documentation."""

from comfysup.api.routes.table import ROUTES
from comfysup.api.server.security import Access
from tests.unit.api.site import API, site_of


def test_every_route_is_unique() -> None:
    targets = [(route.method, route.path) for route in ROUTES]

    assert len(set(targets)) == len(targets)


def test_exactly_the_routes_with_read_access_are_gets() -> None:
    reading = {Access.OPEN, Access.READ, Access.FOLLOW}

    assert all((route.method == "GET") is (route.access in reading) for route in ROUTES)


def test_only_probes_and_the_document_of_the_api_are_open() -> None:
    opened = {route.path for route in ROUTES if route.access is Access.OPEN}

    assert opened == {"/livez", "/readyz", "/openapi.json", "/docs", "/docs/{file}"}


async def test_a_head_request_for_a_stream_is_refused() -> None:
    async with site_of() as site, site.client.head(f"{API}/events") as answer:
        status = answer.status

    assert status == 405
