"""One request as its handler gets it: the caller, the query and the body, checked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from comfysup.api.server.errors import FieldError, InvalidRequestError
from comfysup.api.server.security import Caller
from comfysup.config.field_errors import problems, quoted, unknown_keys

MAX_UNKNOWN = 20
"""Words that one answer names."""


def unknown_in(
    written: Iterable[Mapping[str, object]], model: type[BaseModel], what: str = "field"
) -> list[str]:
    """Return a sentence for each unknown key, for the first `MAX_UNKNOWN` of them.

    Each reads `unknown field 'gpus': did you mean 'gpu'?`, without the hint if no name is similar.
    The number is limited because the comparison is slow and a caller may send thousands of names.
    """
    known = model.model_fields
    foreign = (key for mapping in written for key in mapping if key not in known)
    some = dict.fromkeys(islice(foreign, MAX_UNKNOWN))
    hints = unknown_keys(some, known)
    return [f"unknown {what} {quoted(key)}{hint}" for key, hint in hints.items()]


Q = TypeVar("Q")
M = TypeVar("M", bound=BaseModel)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """The arguments of a handler. `written` is the body before validation."""

    request: web.Request
    caller: Caller
    query: Q
    body: B
    written: Mapping[str, object]

    @property
    def ref(self) -> str:
        """The id or name in the address."""
        return self.request.match_info["ref"]


def read_query(request: web.Request, model: type[M]) -> M:
    """Return the query as that model, or refuse it with all that is wrong."""
    query = request.query
    mistakes = [
        FieldError(("query",), text, "unknown")
        for text in unknown_in([query], model, "query parameter")
    ]
    mistakes += [
        FieldError(("query", key), "must be given once", "duplicate")
        for key, times in Counter(key for key, _ in query.items()).items()
        if times > 1
    ]
    if not mistakes:
        try:
            return model.model_validate(dict(query))
        except ValidationError as error:
            mistakes = [FieldError(("query", *p.loc), p.text, p.type) for p in problems(error)]
    raise InvalidRequestError(mistakes)
