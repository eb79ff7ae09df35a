"""What callers read when something is wrong.

ApiError               an answer with a status, a code and a text
└── InvalidRequestError    422, with a list of what is wrong and where
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from comfysup.supervision.protocols import RefusedError
from comfysup.web.answers import json_answer
from comfysup.web.limits import MAX_MISTAKES

log = structlog.get_logger()

REFUSALS: Mapping[str, HTTPStatus] = {
    "unknown_instance": HTTPStatus.NOT_FOUND,
    "unknown_environment": HTTPStatus.NOT_FOUND,
    "port_taken": HTTPStatus.CONFLICT,
    "spec_conflict": HTTPStatus.CONFLICT,
    "name_taken": HTTPStatus.CONFLICT,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The status that goes with the code of a `RefusedError`; any other is a conflict."""

_SERVER_ERRORS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in a request: `loc` leads to it, `type` is a word for programs."""

    loc: Sequence[str | int]
    msg: str
    type: str


@dataclass(frozen=True)
class ErrorView:
    """How an error is answered."""

    detail: str | Sequence[Mistake]
    code: str


class ApiError(Exception):
    """A request that is answered with an error; the text is a whole sentence."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep what the answer is made of."""
        super().__init__(detail)
        self.status = status
        self.headers = headers
        self.view = ErrorView(detail, code)


class InvalidRequestError(ApiError):
    """A request that says something wrong in its body or its query; nothing was started."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        """Name the mistakes, but not endlessly many."""
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", "invalid request")
        shown = list(mistakes[:MAX_MISTAKES])
        if rest := len(mistakes) - len(shown):
            shown.append(Mistake((), f"and {rest} more", "more_mistakes"))
        self.view = ErrorView(shown, "invalid_request")


def refusal(code: str, message: str) -> ApiError:
    """Return the error for what supervision refused."""
    return ApiError(REFUSALS.get(code, HTTPStatus.CONFLICT), code, message)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever went wrong as DESIGN 2.3 says; what nobody foresaw is logged, here alone."""
    try:
        return await handler(request)
    except ApiError as error:
        return _answer(error)
    except RefusedError as error:
        return _answer(refusal(error.code, str(error)))
    except web.HTTPException as error:
        return _answer(_from_server(request, error))
    except ConnectionError:
        raise  # the caller is gone: there is nobody to answer
    except Exception:
        log.exception("request.broke", method=request.method, path=request.path)
        return _answer(ApiError(500, "internal_error", "a defect of comfysup; its log says more"))


def _answer(error: ApiError) -> web.Response:
    return json_answer(error.view, error.status, error.headers)


def _from_server(request: web.Request, error: web.HTTPException) -> ApiError:
    """Translate an error of aiohttp itself, most often that there is no such route."""
    status = HTTPStatus(error.status)
    code = _SERVER_ERRORS.get(status, status.phrase.lower().replace(" ", "_"))
    allow = error.headers.get(hdrs.ALLOW)
    detail = f"cannot {request.method} {request.path}: {status.phrase.lower()}"
    return ApiError(status, code, detail, {hdrs.ALLOW: allow} if allow else None)
