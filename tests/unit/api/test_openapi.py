"""The OpenAPI document describes every route, field, parameter and error."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from comfysup.api import openapi
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
    validate(DOCUMENT)


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
    """Except those of addresses that no route has."""
    elsewhere = {"not_found", "method_not_allowed"}
    codes = {code for each in DOCUMENT["components"]["responses"].values() for code in _codes(each)}

    assert codes == set(ERROR_CODES) - elsewhere


def _codes(response: dict[str, Any]) -> Iterator[str]:
    (_, narrowed) = response["content"]["application/json"]["schema"]["allOf"]
    yield from narrowed["properties"]["code"]["enum"]


def test_every_event_has_its_data() -> None:
    content = OPERATIONS["GET /api/comfyui/events"]["responses"]["200"]["content"]
    events = content["text/event-stream"]["x-events"]

    assert events["instance.exited"] == {"$ref": "#/components/schemas/InstanceEventView"}
    assert events["prompt.given_up"] == {"$ref": "#/components/schemas/PromptEventView"}


def test_the_document_names_no_machine() -> None:
    assert "/work" not in json.dumps(DOCUMENT).replace("/workspace", "")
