"""Send bytes to a daemon and check the response."""

import json
import socket
from contextlib import closing, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tests.fuzz.requests import Request

PATIENCE = 5.0
"""Seconds after which no answer will come; each is promised in far less."""

UNAVAILABLE = ("too_many_readers", "too_many_followers", "too_many_connections")


class Caller:
    """Calls over TCP, or over the unix socket, where everything is allowed."""

    def __init__(self, port: int, local: Path) -> None:
        self._port = port
        self._local = local
        self.statuses: dict[int, int] = {}

    def send(self, request: Request) -> None:
        """Send a request, and assert that the response is one for callers without a token."""
        with closing(self._connect(local=request.local)) as connection:
            with suppress(ConnectionError):  # refused half way: the answer may still be there
                connection.sendall(request.head + request.body)
            try:
                with HTTPResponse(connection) as answer:
                    answer.begin()
                    self._judge(answer)
            except (ConnectionError, HTTPException):
                assert not request.whole, f"no answer to {request}"
            except TimeoutError:
                raise AssertionError(f"no answer in time to {request}") from None

    def _judge(self, answer: HTTPResponse) -> None:
        status = answer.status
        self.statuses[status] = self.statuses.get(status, 0) + 1
        assert status != 101, "switched protocols"
        if status < 400 or answer.length == 0:
            assert status < 500, status
            return
        if status == 417 and answer.headers.get_content_type() == "text/plain":
            return  # aiohttp's own, where there is no such route to have another
        assert answer.headers.get_content_type() == "application/json", answer.headers
        found = json.loads(answer.read())
        assert status < 500 or found["code"] in UNAVAILABLE, (status, found)
        detail = found["detail"]
        told = [each["msg"] for each in detail] if isinstance(detail, list) else [detail]
        assert told, found
        assert all(isinstance(text, str) and 5 < len(text) < 2_000 for text in told), found

    def _connect(self, *, local: bool) -> socket.socket:
        if not local:
            return socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(str(self._local))
        return connection
