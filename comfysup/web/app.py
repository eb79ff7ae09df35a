"""The application: the route table, behind what holds for every answer."""

from aiohttp import hdrs, web

from comfysup.web.connections import is_leaving
from comfysup.web.endpoint import endpoint
from comfysup.web.errors import answer_errors
from comfysup.web.expectations import answer_expectation
from comfysup.web.limits import Limits
from comfysup.web.routes import ROUTES
from comfysup.web.security import Access, Admission
from comfysup.web.services import Services

HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    hdrs.SERVER: "comfysup",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer that does not say otherwise."""


def make_app(
    services: Services, admission: Admission, limits: Limits | None = None
) -> web.Application:
    """Return the application; it holds nothing but what it is given."""
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
