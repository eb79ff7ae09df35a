"""The OpenAPI document describes every route, field, parameter and error."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from comfysup.api import openapi
from comfysup.api.routes import documents
from comfysup.api.routes.documents import COPY
from comfysup.api.routes.table import ROUTES
from comfysup.api.server.error_codes import ERROR_CODES
from comfysup.api.server.security import Access
from tests.unit.api.site import site_of

DOCUMENT = openapi.document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_the_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_the_copy_that_is_served_is_current() -> None:
    """Otherwise run `make openapi`, and commit what it changes."""
    assert COPY.read_text() == openapi.text()


async def test_the_copy_is_served_without_a_token() -> None:
    async with site_of() as site, site.client.get("/openapi.json") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == DOCUMENT


def test_every_route_is_described() -> None:
    written = {f"{each.method} {each.path.replace(':[^/]+', '')}" for each in ROUTES}

    assert set(OPERATIONS) == written
    assert len({each["operationId"] for each in OPERATIONS.values()}) == len(ROUTES)
    assert all(each["summary"] for each in OPERATIONS.values())


def test_the_security_of_a_route_is_that_of_the_table() -> None:
    schemes: dict[Access, list[object]] = {
        Access.OPEN: [],
        Access.READ: [{}, {"token": []}, {"readToken": []}],
        Access.FOLLOW: [{}, {"token": []}, {"readToken": []}],
        Access.WRITE: [{}, {"token": []}],
    }
    for route in ROUTES:
        operation = OPERATIONS[f"{route.method} {route.path.replace(':[^/]+', '')}"]
        assert operation["security"] == schemes[route.access]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_field_is_described(name: str) -> None:
    fields = SCHEMAS[name].get("properties", {})

    assert [field for field, schema in fields.items() if not schema.get("description")] == []


def test_every_parameter_is_described() -> None:
    lacking = {
        f"{name} {parameter['name']}"
        for name, operation in OPERATIONS.items()
        for parameter in operation["parameters"]
        if not parameter.get("description")
    }

    assert lacking == set()


def test_every_error_code_is_in_an_answer() -> None:
    """Except the codes of unknown paths."""
    elsewhere = {"method_not_allowed"}
    codes = {code for each in DOCUMENT["components"]["responses"].values() for code in _codes(each)}

    assert codes == set(ERROR_CODES) - elsewhere


def _codes(response: dict[str, Any]) -> Iterator[str]:
    (_, narrowed) = response["content"]["application/json"]["schema"]["allOf"]
    yield from narrowed["properties"]["code"]["enum"]


def test_the_document_describes_the_data_of_every_event() -> None:
    content = OPERATIONS["GET /api/comfyui/events"]["responses"]["200"]["content"]
    events = content["text/event-stream"]["x-events"]

    assert events["instance.exited"] == {"$ref": "#/components/schemas/InstanceEventView"}
    assert events["prompt.given_up"] == {"$ref": "#/components/schemas/PromptEventView"}


def test_the_document_names_no_machine() -> None:
    assert "/work" not in json.dumps(DOCUMENT).replace("/workspace", "")


async def test_the_page_loads_its_files_from_the_daemon_alone() -> None:
    async with site_of() as site:
        async with site.client.get("/docs") as answer:
            page = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
        files = re.findall(r'(?:href|src)="([^"]+)"', page)
        answers = {}
        for file in files:
            async with site.client.get(f"/{file}") as answer:
                answers[file] = (answer.status, answer.content_type, len(await answer.read()) > 0)

    assert answers == {
        "docs/swagger-ui.css": (200, "text/css", True),
        "docs/swagger-ui-bundle.js": (200, "text/javascript", True),
        "docs/start.js": (200, "text/javascript", True),
    }
    assert "script-src 'self';" in policy


async def test_an_unknown_file_of_the_page_is_not_found() -> None:
    async with site_of() as site:
        for name in ("index.html", "..%2Fopenapi.json", "swagger-ui.css%00"):
            assert (await site.refused("GET", f"/docs/{name}"))[:2] == (404, "not_found")


async def test_a_file_of_the_page_that_cannot_be_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(documents, "_ASSETS", None)
    async with site_of() as site:
        status, code, detail = await site.refused("GET", "/docs/swagger-ui.css")

    assert (status, code) == (500, "internal_error")
    assert "openapi-ui-bundles is not installed" in detail


def test_an_error_with_the_status_of_an_answer_is_described_beside_it() -> None:
    content = OPERATIONS["GET /readyz"]["responses"]["503"]["content"]["application/json"]
    view, error = content["schema"]["anyOf"]

    assert view == {"$ref": "#/components/schemas/ReadyView"}
    assert "too_many_connections" in error["allOf"][1]["properties"]["code"]["enum"]
