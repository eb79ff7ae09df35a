"""The OpenAPI 3.1 document, made from the route table, the models and the error codes.

The daemon serves the copy in `openapi.json`, so that it need not be made at each start; a test
compares the two. `make openapi` writes the copy again.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from http import HTTPStatus
from importlib.metadata import version as version_of
from typing import Any, Final, TypeAlias, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter

from comfysup.api.routes.documents import COPY
from comfysup.api.routes.table import API, ROUTES, Route
from comfysup.api.server.error_codes import ERROR_CODES
from comfysup.api.server.errors import ErrorView
from comfysup.api.server.security import Access

Json: TypeAlias = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
JSON_TYPE: Final = "application/json"

EVERYWHERE: Final = (
    "bad_request",
    "forbidden",
    "forbidden_host",
    "expectation_failed",
    "invalid_request",
    "head_too_large",
    "internal_error",
    "too_many_connections",
)
"""Error codes of every route."""

WITH_TOKEN: Final = ("unauthorized", "forbidden_origin")
"""Error codes of every route that needs a token or refuses cross-origin requests."""

WITH_BODY: Final = ("request_timeout", "body_too_large", "unsupported_media_type")
"""Error codes of every route that accepts a body. The others refuse one that is too large."""

DESCRIPTION: Final = """\
comfysup starts, watches, restarts and stops several ComfyUI instances. Times are RFC 3339 strings
in UTC; durations are seconds. A value that is unknown or does not apply is `null`.

Without a token, every caller has access. `read` routes accept the token or the read token; routes
that change something accept only the token.
"""


def document(routes: Iterable[Route[Any, Any]] = ROUTES) -> Json:
    """Return the document as JSON."""
    schemas: Json = {}
    errors: Json = {}
    paths: Json = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]+\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas, errors)
    _schema(ErrorView, schemas, "serialization")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "comfysup",
            "version": version_of("comfysup"),
            "description": DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": dict(sorted(errors.items())),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`COMFYSUP_TOKEN`: permits every request",
                },
                "readToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`COMFYSUP_READ_TOKEN`: permits requests that change nothing",
                },
            },
        },
    }


def schema_of(view: object, mode: str = "serialization") -> Json:
    """Return the JSON schema of a view or body, with the docstrings of its fields."""
    schemas: Json = {}
    found = _schema(view, schemas, mode)
    name = found.get("$ref", "").removeprefix(SCHEMAS)
    return schemas.get(name, found)  # type: ignore[no-any-return]


def _operation(route: Route[Any, Any], schemas: Json, errors: Json) -> Json:
    operation: Json = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": _responses(route, schemas, errors),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {JSON_TYPE: {"schema": _schema(route.body, schemas, "validation")}},
        }
    match route.access:
        case Access.OPEN:
            operation["security"] = []
        case Access.WRITE:
            operation["security"] = [{}, {"token": []}]
        case _:
            operation["security"] = [{}, {"token": []}, {"readToken": []}]
    return operation


PATH_PARAMETERS: Final = {
    f"{API}/environments/{{ref": "name of the environment",
    f"{API}/instances/{{ref": "id or name of the instance",
    "/docs/{file": "name of the file",
}
"""What the parameter of a path is, by its beginning."""


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": beginning.rpartition("{")[2],
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string"},
        }
        for beginning, description in PATH_PARAMETERS.items()
        if path.startswith(beginning)
    ]


def _query_parameters(query: type[BaseModel]) -> list[Json]:
    schema = query.model_json_schema()
    definitions = schema.get("$defs", {})
    parameters = []
    for name, field in schema.get("properties", {}).items():
        resolved = _resolved(field, definitions)
        description = resolved.pop("description", None)
        resolved.pop("title", None)
        parameter: Json = {"name": name, "in": "query", "schema": resolved}
        if description:
            parameter["description"] = description
        parameters.append(parameter)
    return parameters


def _resolved(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a schema with the referenced definitions in place, and without null.

    A query cannot contain null: an omitted parameter has that meaning.
    """
    match schema:
        case {"$ref": str(reference), **rest}:
            found = dict(definitions[reference.rpartition("/")[2]])
            found.pop("title", None)
            found.pop("description", None)
            return _resolved({**found, **rest}, definitions)
        case {"anyOf": list(choices), **rest}:
            kept = [each for each in choices if each != {"type": "null"}]
            merged = {
                key: value for key, value in rest.items() if (key, value) != ("default", None)
            }
            if len(kept) == 1:
                return _resolved({**kept[0], **merged}, definitions)
            return {"anyOf": [_resolved(each, definitions) for each in kept], **merged}
        case _:
            return dict(schema)


def _responses(route: Route[Any, Any], schemas: Json, errors: Json) -> Json:
    responses: Json = {}
    for status, view in route.answers.items():
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {JSON_TYPE: {"schema": _schema(view, schemas, "serialization")}},
        }
    if route.streams:
        content = responses.setdefault("200", {"description": "OK"}).setdefault("content", {})
        content["text/event-stream"] = {
            "schema": {"type": "string"},
            "x-events": {
                name: _schema(view, schemas, "serialization")
                for name, view in route.streams.items()
            },
        }
    for kind in route.media:
        content = responses.setdefault("200", {"description": "OK"}).setdefault("content", {})
        content[kind] = {"schema": {"type": "string"}}
    for number, codes in _errors(route).items():
        error = _error_response(codes)
        if number in responses:
            content = responses[number]["content"][JSON_TYPE]
            schema = error["content"][JSON_TYPE]["schema"]
            content["schema"] = {"anyOf": [content["schema"], schema]}
            responses[number]["description"] += f", or\n\n{error['description']}"
            continue
        name = ".".join(codes)
        errors[name] = error
        responses[number] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(responses.items()))


def _errors(route: Route[Any, Any]) -> dict[str, list[str]]:
    """Return the error codes of a route by HTTP status."""
    codes = [*EVERYWHERE, *route.errors]
    if route.access is not Access.OPEN:
        codes += WITH_TOKEN
    codes += WITH_BODY if route.body is not None else ("body_too_large",)
    found: dict[str, list[str]] = {}
    for code in sorted(set(codes)):
        found.setdefault(str(ERROR_CODES[code].status), []).append(code)
    return found


def _error_response(codes: Sequence[str]) -> Json:
    text = "\n".join(f"- `{code}`: {ERROR_CODES[code].meaning}" for code in codes)
    return {
        "description": text,
        "content": {
            JSON_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": f"{SCHEMAS}ErrorView"},
                        {"properties": {"code": {"enum": list(codes)}}},
                    ]
                }
            }
        },
    }


def _schema(view: object, schemas: Json, mode: str) -> Json:
    """Return a reference to the schema of a view, and add it and all that it contains."""
    _read_docstrings(view)
    schema = TypeAdapter(view).json_schema(ref_template=SCHEMAS + "{model}", mode=mode)  # type: ignore[arg-type]
    schemas |= schema.pop("$defs", {})
    if not (isinstance(view, type) and (is_dataclass(view) or issubclass(view, BaseModel))):
        return schema
    schemas[view.__name__] = schema
    return {"$ref": SCHEMAS + view.__name__}


def _read_docstrings(view: object) -> None:
    """Have pydantic describe the fields of all dataclasses in a type by their docstrings."""
    if isinstance(view, type) and is_dataclass(view):
        if "__pydantic_config__" in vars(view):
            return
        config = ConfigDict(use_attribute_docstrings=True)
        setattr(view, "__pydantic_config__", config)  # noqa: B010 - unknown to the type checker
        for each in get_type_hints(view).values():
            _read_docstrings(each)
    for part in get_args(view):
        _read_docstrings(part)


def text() -> str:
    """Return the document as it is served."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Write the copy that the daemon serves."""
    COPY.write_text(text())


if __name__ == "__main__":
    write()
