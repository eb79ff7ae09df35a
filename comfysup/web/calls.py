"""One request, understood: who calls, about what, and with which values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiohttp import web

from comfysup.web.security import Caller

Q = TypeVar("Q")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """What a handler is given. `written` is the body before it was understood."""

    request: web.Request
    caller: Caller
    query: Q
    body: B
    written: Mapping[str, object]

    @property
    def ref(self) -> str:
        """The id or name in the address."""
        return self.request.match_info["ref"]
