"""Reading the query of a request."""

from collections import Counter
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from comfysup.fields.problems import problems
from comfysup.web.errors import InvalidRequestError, Mistake
from comfysup.web.unknown import unknown_in

Q = TypeVar("Q", bound=BaseModel)


def read_query(request: web.Request, model: type[Q]) -> Q:
    """Return the query as that model, or refuse it with all that is wrong."""
    query = request.query
    mistakes = [
        Mistake(("query",), text, "unknown")
        for text in unknown_in([query], model, "query parameter")
    ]
    mistakes += [
        Mistake(("query", key), "must be given once", "duplicate")
        for key, times in Counter(key for key, _ in query.items()).items()
        if times > 1
    ]
    if not mistakes:
        try:
            return model.model_validate(dict(query))
        except ValidationError as error:
            mistakes = [Mistake(("query", *p.loc), p.text, p.type) for p in problems(error)]
    raise InvalidRequestError(mistakes)
