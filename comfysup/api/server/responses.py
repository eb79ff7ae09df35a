"""From views, which are dataclasses, to bytes."""

import json
from collections.abc import Mapping

from aiohttp import hdrs, web

from comfysup.model.printable import printable_json

HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    hdrs.SERVER: "comfysup",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Default headers of every response."""


def encode(view: object) -> bytes:
    """Return a view as JSON that is harmless on a terminal too.

    Half a character, which UTF-8 cannot write, becomes `?`.
    """
    written = json.dumps(view, default=vars, ensure_ascii=False)
    return printable_json(written).encode("utf-8", "replace")


def json_answer(
    view: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return json_bytes_answer(encode(view), status, headers)


def json_bytes_answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a response with a body that is already JSON."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
