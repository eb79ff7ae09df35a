"""Tracks the bytes of a request whose head is incomplete.

The parser does not expose these bytes, but another program needs them to continue the connection.
"""

import re
from typing import Final

from comfysup.api.server.limits import MAX_HEAD_BYTES

END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")


class Received:
    """The bytes of a connection since it was last known to be between two requests."""

    __slots__ = ("_begin", "_count", "_end")

    def __init__(self) -> None:
        """Begin between two requests."""
        self._begin = b""
        self._count = 0
        self._end = b""

    def add(self, data: bytes) -> None:
        """Append received bytes, up to the maximum size of a request head."""
        self._begin += data[: MAX_HEAD_BYTES - len(self._begin)]
        self._count += len(data)
        self._end = (self._end + data[-len(END_OF_HEAD) :])[-len(END_OF_HEAD) :]

    def begins_with(self, text: bytes) -> bool:
        return self._begin.startswith(text)

    def rest(self, requests: int) -> bytes | None:
        """Return the bytes of the next request after `requests` complete ones.

        Returns None if they are unknown: after a request with a body of unknown length.
        """
        if requests and self._end == END_OF_HEAD:
            return b""  # a complete head would count as a request by now
        used = 0
        for _ in range(requests):
            end = self._begin.find(END_OF_HEAD, used)
            head = self._begin[used : end + len(END_OF_HEAD)].lower()
            if end < 0 or b"\r\ntransfer-encoding:" in head:
                return None
            length = _LENGTH.search(head)
            used = end + len(END_OF_HEAD) + (int(length[1]) if length else 0)
        if used == self._count:
            return b""
        whole = self._count == len(self._begin)
        return self._begin[used:] if whole and used < self._count else None
