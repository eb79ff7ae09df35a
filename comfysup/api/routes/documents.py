"""The OpenAPI document, and its page."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from comfysup.api.schemas import NoQuery
from comfysup.api.server.errors import ApiError
from comfysup.api.server.request import Call
from comfysup.api.server.responses import json_bytes_answer
from comfysup.api.services import Services
from comfysup.model.printable import shortened

COPY: Final = Path(__file__).parents[1] / "openapi.json"
"""The document, which `make openapi` writes."""

_DOCUMENT: Final = COPY.read_bytes()
"""Read with the program, because a request must not wait for a disk."""

_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>comfysup API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  tryItOutEnabled: false,
  validatorUrl: null,
  displayRequestDuration: true,
});
"""


def _assets() -> Path | None:
    """Return the directory of Swagger UI, None if its package is not installed."""
    package = find_spec("openapi_ui_bundles")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "swagger_ui" / "vendor"


_ASSETS: Final = _assets()
"""Searched with the program, because the search reads directories."""

FILES: Final[Mapping[str, str]] = {
    "start.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
"""The files of the page, with their types. All but the first are those of Swagger UI."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )
}
"""Swagger UI sets styles by attributes, and draws icons from data."""


async def get_openapi(_services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_bytes_answer(_DOCUMENT)


async def get_docs(_services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)


async def get_docs_file(services: Services, call: Call[NoQuery, None]) -> web.Response:
    name = call.request.match_info["file"]
    kind = FILES.get(name)
    if kind is None:
        raise ApiError("not_found", f"the page of the API has no file {shortened(name)!r}")
    body = _START.encode() if name == "start.js" else await _asset(services, name)
    headers = {**_HEADERS, hdrs.CACHE_CONTROL: "private, max-age=3600"}
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


async def _asset(services: Services, name: str) -> bytes:
    """Return a file of Swagger UI. Raises `ApiError` if it cannot be read in time."""
    if _ASSETS is None:
        detail = f"cannot read {name}: the package openapi-ui-bundles is not installed"
        raise ApiError("internal_error", detail)
    try:
        return await services.read_file(_ASSETS / name)
    except OSError as error:
        raise ApiError("internal_error", f"cannot read {name}: {error.strerror}") from error
