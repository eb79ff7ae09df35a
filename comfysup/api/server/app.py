"""The application: the route table behind the middlewares of every response."""

from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from comfysup.api.routes.table import ROUTES, Route
from comfysup.api.server.body import check_announced, read_object, understand
from comfysup.api.server.connections import at_work, is_leaving
from comfysup.api.server.errors import ErrorView, answer_errors
from comfysup.api.server.limits import Limits
from comfysup.api.server.request import Call, read_query
from comfysup.api.server.responses import HEADERS, json_answer
from comfysup.api.server.security import Access, Admission, admit
from comfysup.api.services import Services
from comfysup.config.field_errors import quoted


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


async def answer_expectation(request: web.Request) -> web.Response | None:
    """Send 100 Continue to a caller that expects it; any other expectation gives 417."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if request.version != HttpVersion11:
        return None
    if expected.lower() != "100-continue":
        detail = f"cannot meet the expectation {quoted(expected)}"
        return json_answer(ErrorView(detail, "expectation_failed"), 417)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # as aiohttp does: nothing of the answer has been sent yet
    return None


def make_app(
    services: Services, admission: Admission, limits: Limits | None = None
) -> web.Application:
    """Return the application. All its state is in the arguments."""
    app = web.Application(middlewares=[answer_errors])
    for route in ROUTES:
        handler = endpoint(route, services, admission, limits or Limits())
        app.router.add_route(route.method, route.path, handler, expect_handler=answer_expectation)
        if route.method == hdrs.METH_GET and route.access is not Access.FOLLOW:
            app.router.add_route(
                hdrs.METH_HEAD, route.path, handler, expect_handler=answer_expectation
            )
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if is_leaving(request):
        response.force_close()
    headers = response.headers
    headers[hdrs.SERVER] = HEADERS[hdrs.SERVER]
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
