"""docs/reference/http.md names every route, field, status and error code, and no other."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from comfysup.api.openapi import schema_of
from comfysup.api.routes.table import ROUTES, Route
from comfysup.api.schemas import StartInstancesBody
from comfysup.api.server.error_codes import ERROR_CODES
from comfysup.api.server.errors import _SERVER_ERRORS, ErrorView, FieldError
from comfysup.api.views.daemon import DaemonView, LiveView, ReadyView, RestartingView
from comfysup.api.views.environments import EnvironmentsView, EnvironmentView, LinkView
from comfysup.api.views.instances import (
    ConditionView,
    ExitView,
    HealthView,
    InstancesView,
    InstanceView,
    PromptView,
    QueueView,
    StatusView,
    StopAllView,
)
from comfysup.api.views.reload import (
    FailedReloadView,
    NamedView,
    PlannedView,
    ReloadView,
    RollingRestartView,
)
from comfysup.api.views.starting import (
    NotStartedView,
    StartedView,
    StartInstancesView,
    StartSingleView,
)
from comfysup.config.instance_fields import InstanceFields
from comfysup.model.environment import LeftBehind
from comfysup.model.instances_file import ConfigError
from comfysup.model.observed import GpuUsage, Usage
from tests.unit.docs.pages import argument, calls, page, rows, section, table, words

PAGE = page("reference/http.md")

TITLES: dict[type, str] = {
    StartInstancesView: "Start several instances",
    StartedView: "Result of a start",
    NotStartedView: "Result of a start",
    StartSingleView: "Start one instance",
    StatusView: "Status",
    InstancesView: "List instances",
    InstanceView: "Instance",
    ExitView: "Exit",
    HealthView: "Health",
    ConditionView: "Condition",
    QueueView: "Queue",
    PromptView: "Running prompt",
    Usage: "Usage",
    GpuUsage: "GPU usage",
    EnvironmentsView: "Environments",
    EnvironmentView: "Environment",
    StopAllView: "Stop all instances",
    RollingRestartView: "Rolling restart",
    NamedView: "Name",
    FailedReloadView: "Failure",
    ReloadView: "Reload",
    PlannedView: "Planned action",
    ConfigError: "Configuration error",
    LinkView: "Link models",
    LeftBehind: "File left",
    DaemonView: "Daemon",
    RestartingView: "Restart the daemon",
    LiveView: "Liveness",
    ReadyView: "Readiness",
    ErrorView: "Error",
    FieldError: "Field error",
}
"""Where the page has the fields of each view."""

CODES = table(section(PAGE, "Codes"), "status") | {
    word: row for row in rows(section(PAGE, "Codes"), "status") for word in words(row[1])
}


def path_of(route: Route[Any, Any]) -> str:
    return f"{route.method} {route.path.replace('{ref:[^/]+}', '{ref}')}"


SECTIONS = {words(row[0])[0]: row[0].partition("](#")[2].rstrip(")") for row in rows(PAGE, "route")}


def text_of(route: Route[Any, Any]) -> str:
    anchor = SECTIONS[path_of(route)]
    for line in PAGE.splitlines():
        if line.startswith("#") and line.lstrip("# ").lower().replace(" ", "-") == anchor:
            return section(PAGE, line.lstrip("# "))
    raise AssertionError(f"no section #{anchor}")


def views_in(annotation: object) -> Iterator[type]:
    """Yield the dataclasses in a type, and in their fields."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        yield annotation
        for kind in typing.get_type_hints(annotation).values():
            yield from views_in(kind)
    for part in typing.get_args(annotation):
        yield from views_in(part)


SHOWN = {
    each
    for route in ROUTES
    if route.path != "/api/comfyui/events"
    for view in route.answers.values()
    for each in views_in(view)
} | {ErrorView, FieldError}


def nullable(annotation: object) -> bool:
    return typing.get_origin(annotation) in {types.UnionType, typing.Union} and type(
        None
    ) in typing.get_args(annotation)


def test_every_route_is_in_the_table_with_its_access() -> None:
    written = {words(row[0])[0]: row[1] for row in rows(PAGE, "route")}

    assert {path_of(route): route.access.name.lower() for route in ROUTES} == written


def test_every_view_is_on_the_page() -> None:
    assert SHOWN == set(TITLES)


@pytest.mark.parametrize("title", sorted(set(TITLES.values())))
def test_the_fields_of_an_answer_are_those_of_its_view(title: str) -> None:
    kinds: dict[str, object] = {}
    for view in (each for each in TITLES if TITLES[each] == title):
        kinds |= typing.get_type_hints(view)
    written = table(section(PAGE, title), "field")

    assert set(kinds) == set(written)
    assert {name: nullable(kind) for name, kind in kinds.items()} == {
        name: "null" in row[1] for name, row in written.items()
    }


@pytest.mark.parametrize("route", ROUTES, ids=path_of)
def test_a_route_states_its_query_and_its_statuses(route: Route[Any, Any]) -> None:
    text = text_of(route)
    fields = set(route.query.model_fields)
    refers = "The query is that of" in text
    written = set(table(text, "query")) if fields and not refers else set()

    assert (set() if refers else fields) == written
    assert {status for status in route.answers if f"**{status}**" not in text} == set()


BODIES: list[tuple[str, type[BaseModel]]] = [
    ("Start several instances", StartInstancesBody),
    ("Instance fields", InstanceFields),
]


@pytest.mark.parametrize(("title", "model"), BODIES, ids=[title for title, _ in BODIES])
def test_the_fields_of_a_body_are_those_that_are_read(title: str, model: type[BaseModel]) -> None:
    assert set(model.model_fields) == set(table(section(PAGE, title), "body"))


LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def plain(cell: str) -> str:
    """Return the text of a cell without its links."""
    return LINK.sub(r"\1", cell).replace("\\|", "|")


def test_the_page_has_every_error_code_with_its_status_and_meaning() -> None:
    written = {code: (int(row[0]), plain(row[2])) for code, row in CODES.items()}

    assert written == {code: tuple(each) for code, each in ERROR_CODES.items()}


def codes_in_source() -> set[str]:
    """Return the error codes that the source names."""
    found = set(_SERVER_ERRORS.values()) | {"too_many_readers"}
    for name, place, below in (
        ("RefusedError", 0, ""),
        ("ApiError", 0, "api"),
        ("ErrorView", 1, ""),
        ("_written_out", 2, ""),
        ("StreamLimit", 2, ""),
    ):
        for call in calls(name, below=below):
            if code := argument(call, place, "code"):
                found.add(code)
    return found | {"invalid_request"}


def test_every_error_code_that_is_sent_is_in_the_catalogue_and_the_reverse() -> None:
    assert codes_in_source() == set(ERROR_CODES)


@pytest.mark.parametrize("view", TITLES, ids=lambda view: view.__name__)
def test_the_page_describes_a_field_as_its_view_does(view: type) -> None:
    written = table(section(PAGE, TITLES[view]), "field")
    described = descriptions(view)

    assert set(described) == set(typing.get_type_hints(view))
    assert {name: plain(written[name][2]) for name in described} == described


def descriptions(view: type) -> dict[str, str]:
    """Return the docstrings of the fields of a view, each on one line."""
    schema = schema_of(view)
    return {
        name: " ".join(field.get("description", "").split())
        for name, field in schema["properties"].items()
    }
