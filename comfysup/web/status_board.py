"""The answer to `status`, ready to be sent: it is asked for far more often than it changes."""

import time
from collections.abc import Callable

MAX_AGE = 0.25
"""Seconds after which what grows by itself (uptime, usage, health) is shown anew."""


class StatusBoard:
    """Keeps the last answer until something is touched, or it is too old."""

    def __init__(self, max_age: float = MAX_AGE) -> None:
        """Keep nothing yet."""
        self._max_age = max_age
        self._body: bytes | None = None
        self._drawn_at = 0.0

    def invalidate(self) -> None:
        """Forget the answer: something that it shows has changed."""
        self._body = None

    def body(self, draw: Callable[[], bytes]) -> bytes:
        """Return the answer, drawn anew where that is needed."""
        now = time.monotonic()
        if self._body is None or now - self._drawn_at > self._max_age:
            self._body = draw()
            self._drawn_at = now
        return self._body
