"""Connections: how many there may be, and who has to go when there are more.

A caller that only keeps a connection open, dawdles over a request or does not read its answer
must not keep others out. So the one that has rested longest makes room for a new one; only those
whose request is being carried out are safe.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from aiohttp import web
from typing_extensions import override

from comfysup.web.answers import encode, json_answer
from comfysup.web.errors import ErrorView
from comfysup.web.limits import MAX_HEAD_BYTES, MAX_HEADERS, Limits

FAREWELL = 0.1
"""Seconds in which requests that are here are answered before their connections are passed on."""

TUNNEL = b"CONNECT "
"""How a request begins that aiohttp takes for a tunnel: malformed, it is never answered."""

LINGERING = 1.0
"""Seconds that the rest of a refused body is read and thrown away, so that the answer arrives."""


def _written_out(status: bytes, text: str, code: str) -> bytes:
    """Return an answer for a connection on which no request has been read."""
    body = encode(ErrorView(text, code))
    return (
        b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (status, len(body), body)
    )


_FULL = _written_out(
    b"503 Service Unavailable",
    "too many requests are being carried out",
    "too_many_connections",
)
_HEAD_TOO_LARGE = _written_out(
    b"431 Request Header Fields Too Large",
    f"the head of the request is larger than {MAX_HEAD_BYTES} bytes",
    "head_too_large",
)


_NO_TUNNEL = _written_out(
    b"405 Method Not Allowed",
    "cannot open a tunnel: there is nothing behind this port",
    "method_not_allowed",
)


class Connection(web.RequestHandler):
    """One connection, which enters and leaves by its gate."""

    __slots__ = ("_gate", "_head_bytes", "_head_start")

    def __init__(self, server: web.Server, gate: "Gate", limits: Limits) -> None:
        """Be bounded in everything that a stranger decides on."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to have none
            auto_decompress=False,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=LINGERING,
            max_headers=MAX_HEADERS,
        )
        self._gate = gate
        self._head_bytes = 0
        self._head_start = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._gate.enter(self):
            self._refuse(_FULL)

    @override
    def data_received(self, data: bytes) -> None:
        if self._waits_for_head():
            begun = self._head_start if self._head_bytes else b""
            self._head_start = (begun + data[: len(TUNNEL)])[: len(TUNNEL)]
            if self._head_start == TUNNEL:
                self._refuse(_NO_TUNNEL)
                return
        super().data_received(data)
        # While aiohttp waits for a request, what has come is the beginning of its head. It bounds
        # each header and their number, which together allow half a megabyte.
        self._head_bytes = self._head_bytes + len(data) if self._waits_for_head() else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)

    def _waits_for_head(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._gate.leave(self)
        super().connection_lost(exc)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not even be read as a request; anybody can send that, so no log."""
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        what = (message or "bad request").partition("\n")[0].rstrip(":").lower()
        answer = json_answer(ErrorView(f"cannot read the request: {what}", "bad_request"), status)
        answer.force_close()
        return answer

    def abort(self) -> None:
        """Let go of it now, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def leaving(self) -> bool:
        """Whether the next answer is the last one of this connection."""
        return self._gate.closing

    def pass_on(self) -> int | None:
        """End it here, and return a descriptor by which it goes on elsewhere, if nothing is lost.

        That is between two requests. One whose head is half here, or whose last answer has not gone
        out whole, only ends.
        """
        if self.transport is None or not self._waits_for_head():
            return None
        untouched = self._head_bytes == 0 and self.transport.get_write_buffer_size() == 0
        kept = os.dup(self.transport.get_extra_info("socket").fileno()) if untouched else None
        self.transport.close()
        return kept

    def at_work(self) -> AbstractContextManager[None]:
        return self._gate.at_work(self)

    def _refuse(self, answer: bytes) -> None:
        if self.transport is not None:
            self.transport.write(answer)
            self.force_close()


class Gate:
    """Makes the connections of one listener, and bounds how many there are.

    Each is either resting (no request, or one that is still being read or answered) or working.
    """

    def __init__(self, server: web.Server, limits: Limits) -> None:
        """Begin without a connection."""
        self._server = server
        self._limits = limits
        self.closing = False
        self._resting: dict[Connection, None] = {}  # who has rested longest comes first
        self._working: set[Connection] = set()

    def __call__(self) -> Connection:
        """Make the protocol of a connection that was accepted."""
        return Connection(self._server, self, self._limits)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._resting) + len(self._working)

    def enter(self, connection: Connection) -> bool:
        """Take a connection in, for another where it is full; False when all are working."""
        if len(self) >= self._limits.connections:
            if not self._resting:
                return False
            oldest = next(iter(self._resting))
            del self._resting[oldest]
            oldest.abort()
        self._resting[connection] = None
        return True

    def pass_on(self) -> list[int]:
        """Return descriptors of all that wait for a request; the rest end after their answer."""
        self.closing = True
        passed_on = [connection.pass_on() for connection in list(self._resting)]
        return [each for each in passed_on if each is not None]

    def leave(self, connection: Connection) -> None:
        self._resting.pop(connection, None)
        self._working.discard(connection)

    @contextmanager
    def at_work(self, connection: Connection) -> Iterator[None]:
        """Keep it meanwhile, if it is still here."""
        if connection in self._resting:
            del self._resting[connection]
            self._working.add(connection)
        try:
            yield
        finally:
            if connection in self._working:
                self._working.discard(connection)
                self._resting[connection] = None


def at_work(request: web.Request) -> AbstractContextManager[None]:
    """Keep the connection of a request while the request is carried out."""
    connection = request.protocol
    return connection.at_work() if isinstance(connection, Connection) else nullcontext()


def is_leaving(request: web.Request) -> bool:
    """Whether the connection of a request ends with the answer."""
    connection = request.protocol
    return isinstance(connection, Connection) and connection.leaving
