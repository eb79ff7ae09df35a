"""The OpenAPI document."""

from pathlib import Path
from typing import Final

from aiohttp import web

from comfysup.api.schemas import NoQuery
from comfysup.api.server.request import Call
from comfysup.api.server.responses import json_bytes_answer
from comfysup.api.services import Services

COPY: Final = Path(__file__).parents[1] / "openapi.json"
"""The document, which `python -m comfysup.api.openapi` makes."""

_DOCUMENT: Final = COPY.read_bytes()
"""Read with the program, because a request must not wait for a disk."""


async def get_openapi(_services: Services, _call: Call[NoQuery, None]) -> web.Response:
    return json_bytes_answer(_DOCUMENT)
