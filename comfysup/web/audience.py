"""Who follows something: how many may, since each keeps a connection, and how patiently."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from comfysup.web.errors import ApiError


class Audience:
    """A number of seats, each taken for as long as its reader likes.

    `patience` is the seconds after which a reader that takes nothing must go.
    """

    def __init__(self, seats: int, patience: float, code: str = "too_many_readers") -> None:
        """Begin with every seat free."""
        self.patience = patience
        self._seats = seats
        self._code = code
        self.taken = 0

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Take a seat meanwhile; refuse by an `ApiError` where none is free."""
        if self.taken >= self._seats:
            detail = f"cannot follow: {self._seats} readers do so already"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, self._code, detail)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
