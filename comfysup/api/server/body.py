"""Strict parsing of JSON bodies, with limits on size, time and depth.

Python's own parser accepts NaN, numbers beyond all floats and duplicate keys, and recurses to the
limit of its stack.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import NoReturn, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from comfysup.api.server.errors import ApiError, FieldError, InvalidRequestError
from comfysup.api.server.limits import Limits
from comfysup.config.field_errors import kind, problems, quoted

B = TypeVar("B", bound=BaseModel)

_LEVELS = bytes(1 if chr(byte) in "[{" else 255 if chr(byte) in "]}" else 0 for byte in range(256))
_NOT_BRACKETS = bytes(byte for byte in range(256) if not _LEVELS[byte])


class _StrictError(ValueError):
    """JSON that is refused although Python's parser accepts it.

    `type` is the machine-readable code.
    """

    def __init__(self, type_: str, text: str) -> None:
        super().__init__(text)
        self.type = type_


async def read_object(request: web.Request, limits: Limits) -> dict[str, object]:
    """Return the JSON object that is the body; anything else is refused by an `ApiError`."""
    check_announced(request, limits)
    if not request.can_read_body:
        raise _invalid("must be a JSON object, is missing", "missing")
    value = parse(await _read(request, limits), limits.json_depth)
    if not isinstance(value, dict):
        raise _invalid(f"must be an object, is {kind(value)}", "object")
    return value


def check_announced(request: web.Request, limits: Limits) -> None:
    """Refuse a body by its headers before any of it is read."""
    if not request.can_read_body:
        return
    if request.content_type != "application/json":
        raise _unsupported(f"a body must be application/json, is {request.content_type}")
    if coding := request.headers.get(hdrs.CONTENT_ENCODING):
        raise _unsupported(f"a body must not be compressed, is {quoted(coding)}")
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits)


def understand(written: Mapping[str, object], model: type[B]) -> B:
    """Return the body as that model, or refuse it with all that is wrong."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        mistakes = [FieldError(("body", *p.loc), p.text, p.type) for p in problems(error)]
        raise InvalidRequestError(mistakes) from None


def parse(body: bytes, max_depth: int) -> object:
    """Return the JSON value that a body holds, or raise an `InvalidRequestError`."""
    try:
        _check_depth(body, max_depth)
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except _StrictError as error:
        raise _invalid(str(error), error.type) from None
    except UnicodeDecodeError as error:
        raise _invalid(f"is not UTF-8 at byte {error.start}", "json_invalid") from None
    except json.JSONDecodeError as error:
        text = f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise _invalid(text, "json_invalid") from None
    except ValueError:  # more digits than Python parses
        raise _invalid("contains a number with too many digits", "json_number") from None


async def _read(request: web.Request, limits: Limits) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        text = f"the body did not arrive within {limits.body_seconds:g} s"
        raise ApiError("request_timeout", text, {hdrs.CONNECTION: "close"}) from None
    except web.RequestPayloadError as error:
        raise ApiError("bad_request", f"the body cannot be read: {error}") from None
    return bytes(body)


def _check_depth(body: bytes, limit: int) -> None:
    # Strings are removed first, because brackets in them do not nest. All of this is linear and
    # runs in C, since the input is untrusted.
    bare = b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    steps = memoryview(bare.translate(_LEVELS, _NOT_BRACKETS)).cast("b")
    if max(accumulate(steps), default=0) > limit:
        raise _StrictError("json_depth", f"is nested deeper than {limit} levels")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _StrictError("json_duplicate", f"holds the key {quoted(twice)} twice in one object")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise _StrictError("json_number", f"holds {word}, which is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _StrictError("json_number", "contains a number that is too large")
    return number


def _invalid(text: str, type_: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body",), text, type_)])


def _unsupported(text: str) -> ApiError:
    return ApiError("unsupported_media_type", text)


def _too_large(limits: Limits) -> ApiError:
    return ApiError("body_too_large", f"the body is larger than {limits.body_bytes} bytes")
