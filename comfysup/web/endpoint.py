"""From a route of the table to what aiohttp calls."""

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from comfysup.web.body import check_announced, read_object, understand
from comfysup.web.calls import Call
from comfysup.web.connections import at_work
from comfysup.web.limits import Limits
from comfysup.web.queries import read_query
from comfysup.web.routes import Route
from comfysup.web.security import Admission, admit
from comfysup.web.services import Services


def endpoint(
    route: Route[Any, Any], services: Services, admission: Admission, limits: Limits
) -> Handler:
    """Return the handler of a route: admit the caller, understand the request, act."""

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = admit(request, route.access, admission)
        query = read_query(request, route.query)
        written: dict[str, object] = {}
        body = None
        if route.body is None:
            check_announced(request, limits)
        else:
            written = await read_object(request, limits)
            body = understand(written, route.body)
        with at_work(request):
            return await route.handler(services, Call(request, caller, query, body, written))

    return handle
