"""What callers read when something is wrong.

ApiError               an answer with a status, a code and a text
└── InvalidRequestError    422, with a list of what is wrong and where
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from comfysup.api.server.error_codes import ERROR_CODES
from comfysup.api.server.limits import MAX_MISTAKES
from comfysup.api.server.responses import json_answer
from comfysup.model.printable import printable, shortened
from comfysup.supervision.protocols import RefusedError

log = structlog.get_logger()

LONGEST_PATH = 200
"""Characters of a path or a key that an answer repeats."""

_SERVER_ERRORS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}


SIGNPOST = (
    "; this is the API of comfysup: see GET /api/comfyui/status, /api/comfyui/instances, "
    "/api/comfyui/environments, /api/comfyui/events, /api/comfyui/daemon, /livez and /readyz"
)
"""Where a person who opens the address in a browser can continue."""


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong in a request: `loc` leads to it, `type` is a word for programs."""

    loc: Sequence[str | int]
    """begins with `body`, `query`, `header` or `instances.json`"""
    msg: str
    """the value that was found, and the allowed ones"""
    type: str
    """a machine-readable type, for example `missing`"""


@dataclass(frozen=True)
class ErrorView:
    """How an error is answered."""

    detail: str | Sequence[FieldError]
    """a list only with `invalid_request`"""
    code: str
    """one of the codes below"""


class ApiError(Exception):
    """A request that is answered with an error; the text is a whole sentence."""

    def __init__(
        self,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        status: int | None = None,
    ) -> None:
        """Set the parts of the response. `status` is that of the code unless given."""
        super().__init__(detail)
        self.status = ERROR_CODES[code].status if status is None else status
        self.headers = headers
        self.view = ErrorView(printable(detail), code)


class InvalidRequestError(ApiError):
    """A request with an invalid body or query. Nothing was started."""

    def __init__(self, mistakes: Sequence[FieldError]) -> None:
        """Name the mistakes, but not endlessly many."""
        super().__init__("invalid_request", "invalid request")
        shown = [replace(each, loc=_bounded(each.loc)) for each in mistakes[:MAX_MISTAKES]]
        if rest := len(mistakes) - len(shown):
            shown.append(FieldError((), f"and {rest} more", "more_mistakes"))
        self.view = ErrorView(shown, "invalid_request")


def _bounded(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return a location with its keys shortened, because the caller may have chosen them."""
    return tuple(shortened(part, LONGEST_PATH) if isinstance(part, str) else part for part in loc)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Convert errors to JSON responses. Only unexpected exceptions are logged."""
    try:
        return await handler(request)
    except ApiError as error:
        return _answer(error)
    except RefusedError as error:
        return _answer(ApiError(error.code, str(error)))
    except web.HTTPException as error:
        return _answer(_from_server(request, error))
    except ConnectionError:
        raise  # the caller has disconnected
    except Exception:
        log.exception("request.broke", method=request.method, path=request.path)
        return _answer(ApiError("internal_error", "internal error; see the daemon's log"))


def _answer(error: ApiError) -> web.Response:
    return json_answer(error.view, error.status, error.headers)


def _from_server(request: web.Request, error: web.HTTPException) -> ApiError:
    """Convert an error of aiohttp itself, most often an unknown route."""
    status = HTTPStatus(error.status)
    code = _SERVER_ERRORS.get(status, status.phrase.lower().replace(" ", "_"))
    allow = error.headers.get(hdrs.ALLOW)
    what = f"{shortened(request.method)} {shortened(request.path, LONGEST_PATH)}"
    detail = f"cannot {what}: {status.phrase.lower()}"
    if request.path == "/":
        detail += SIGNPOST
    return ApiError(code, detail, {hdrs.ALLOW: allow} if allow else None, status=status)
