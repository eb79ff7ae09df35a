"""From views, which are dataclasses, to bytes."""

import json
from collections.abc import Mapping

from aiohttp import web


def encode(view: object) -> bytes:
    """Return a view as JSON; half a character, which UTF-8 cannot write, becomes `?`."""
    return json.dumps(view, default=vars, ensure_ascii=False).encode("utf-8", "replace")


def json_answer(
    view: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return json_bytes_answer(encode(view), status, headers)


def json_bytes_answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer what is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
