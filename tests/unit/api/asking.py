"""Requests to every route of the table with various headers."""

import pytest

from comfysup.api.routes.table import ROUTES
from comfysup.api.server.security import Admission
from comfysup.config.variables import Token
from tests.unit.api.site import OPEN, World, site_of

WRITE = "wr1te-token"
READ = "r3ad-token"
GUARDED = Admission(OPEN.is_owner, token=Token.of(WRITE), read_token=Token.of(READ))

TARGETS = [
    pytest.param(
        route.method,
        route.path.replace("{ref:[^/]+}", "0").replace("{file}", "start.js"),
        route.access,
        id=f"{route.method} {route.path}",
    )
    for route in ROUTES
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status_of(
    method: str, path: str, headers: dict[str, str], admission: Admission = GUARDED
) -> tuple[int, object]:
    """Return the status and the error code; an empty body leads to 422 at most."""
    async with (
        site_of(World(admission=admission)) as site,
        site.client.request(method, path, headers=headers) as answer,
    ):
        found = await answer.json() if answer.content_type == "application/json" else {}
    return answer.status, found.get("code")
