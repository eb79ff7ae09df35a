"""What of a connection's bytes belongs to a request that has only begun.

The parser keeps these bytes to itself, but a connection that another program goes on with must take
them along.
"""

import re
from typing import Final

from comfysup.api.server.limits import MAX_HEAD_BYTES

END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")


class Received:
    """The bytes of a connection since it was last known to stand between two requests."""

    __slots__ = ("_begin", "_count", "_end")

    def __init__(self) -> None:
        """Begin between two requests."""
        self._begin = b""
        self._count = 0
        self._end = b""

    def add(self, data: bytes) -> None:
        """Note what has come; no more of it is kept than the head of a request may have."""
        self._begin += data[: MAX_HEAD_BYTES - len(self._begin)]
        self._count += len(data)
        self._end = (self._end + data[-len(END_OF_HEAD) :])[-len(END_OF_HEAD) :]

    def begins_with(self, text: bytes) -> bool:
        return self._begin.startswith(text)

    def rest(self, requests: int) -> bytes | None:
        """Return what belongs to the next request, given how many have been read completely.

        None where that cannot be told: behind a request with a body of unknown length.
        """
        if requests and self._end == END_OF_HEAD:
            return b""  # what had come of a head would have become a request by that
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
