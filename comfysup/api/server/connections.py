"""Connections: their maximum number, and which one is closed for a new one.

A caller that keeps a connection idle, sends slowly or does not read must not lock others out. So a
new connection replaces the one whose caller has been inactive for longest. A connection is exempt
while its request is being carried out and its response is being read.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from aiohttp import StreamReader, web
from typing_extensions import override

from comfysup.api.server.errors import ErrorView
from comfysup.api.server.limits import MAX_HEAD_BYTES, MAX_HEADERS, Limits
from comfysup.api.server.received import Received
from comfysup.api.server.responses import HEADERS, encode, json_answer
from comfysup.model.printable import shortened

TUNNEL = b"CONNECT "
"""The start of a request that aiohttp takes for a tunnel and never answers if it is malformed."""

LONGEST_REASON = 100
"""Maximum number of characters of aiohttp's reason for an unreadable request."""

READING = {"GET", "HEAD", "OPTIONS"}
"""Methods by which nothing is changed."""

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
    "too many requests in progress",
    "too_many_connections",
)
_HEAD_TOO_LARGE = _written_out(
    b"431 Request Header Fields Too Large",
    f"the request headers are larger than {MAX_HEAD_BYTES} bytes",
    "head_too_large",
)


_NO_TUNNEL = _written_out(
    b"405 Method Not Allowed",
    "cannot open a tunnel: CONNECT is not supported",
    "method_not_allowed",
)


class Connection(web.RequestHandler):
    """One connection, which enters and leaves by its gate."""

    __slots__ = (
        "_begun",
        "_gate",
        "_head_bytes",
        "_known_requests",
        "_newest",
        "_received",
        "working",
    )

    def __init__(
        self, server: web.Server, gate: "Gate", limits: Limits, begun: bytes = b""
    ) -> None:
        """Set limits on everything that the caller controls.

        `begun` holds the bytes of the next request that the previous program received.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp: None disables it
            auto_decompress=False,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=LINGERING,
            max_headers=MAX_HEADERS,
        )
        self._gate = gate
        self.working = False
        self._head_bytes = 0
        self._begun = begun
        self._received = Received()
        self._newest: tuple[object, StreamReader] | None = None
        self._known_requests = 0  # requests before the bytes in `_received`

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._gate.enter(self):
            self._refuse(_FULL)
        elif self._begun:
            self.data_received(self._begun)

    @override
    def data_received(self, data: bytes) -> None:
        if self._waits_for_head() and self._rest() == b"":
            self._received = Received()
            self._known_requests = self._request_count
        self._received.add(data)
        if self._request_count == self._known_requests and self._received.begins_with(TUNNEL):
            self._refuse(_NO_TUNNEL)
            return
        super().data_received(data)
        if self._messages:
            self._newest = self._messages[-1]
        # While aiohttp waits for a request, what has come is the beginning of its head. It bounds
        # each header and their number, which together allow half a megabyte.
        self._head_bytes = self._head_bytes + len(data) if self._waits_for_head() else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)

    def _waits_for_head(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _rest(self) -> bytes | None:
        """Return the bytes received of the next request, or None if they are unknown."""
        return self._received.rest(self._request_count - self._known_requests)

    @override
    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio keeps the socket for True
        """Handle EOF. A caller that requested a change still receives its response.

        A caller that only reads, or whose request is incomplete, counts as disconnected.
        """
        if not self._carries_out_a_change():
            return False
        self.close()  # after the answer
        return True

    def _carries_out_a_change(self) -> bool:
        """Return whether the newest request is complete, may change state and is unanswered."""
        if self._newest is None or self._waits_for_head():
            return False
        message, body = self._newest
        return getattr(message, "method", "GET") not in READING and body.is_eof()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._gate.leave(self)
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        """Record that the caller does not read."""
        super().pause_writing()
        self._gate.place(self)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._gate.place(self)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to an unparsable request without logging it, because any client can send one."""
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        what = (message or "bad request").partition("\n")[0].rstrip(":").lower()
        detail = f"cannot read the request: {shortened(what, LONGEST_REASON)}"
        view = ErrorView(detail, "bad_request")
        answer = json_answer(view, status, HEADERS)  # no application that would add them
        answer.force_close()
        return answer

    def abort(self) -> None:
        """Close the connection now and discard unsent data."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def leaving(self) -> bool:
        """Return whether the connection closes after the next response."""
        return self._gate.closing

    def pass_on(self) -> "Caller | None":
        """Close the connection here and return what another program needs to continue it.

        Returns None while a request is being carried out or a response is being sent.
        """
        if self.transport is None or self.transport.is_closing() or not self._waits_for_head():
            return None
        rest = self._rest()
        if rest is None or self.transport.get_write_buffer_size():
            return None
        try:
            kept = os.dup(self.transport.get_extra_info("socket").fileno())
        except OSError:  # no descriptor is left now; those before it may leave one
            return None
        self.transport.close()
        return Caller(kept, rest)

    def at_work(self) -> AbstractContextManager[None]:
        return self._gate.at_work(self)

    def _refuse(self, answer: bytes) -> None:
        if self.transport is not None:
            self.transport.write(answer)
            self.force_close()


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection for another program: its descriptor, and the bytes of its next request."""

    descriptor: int
    begun: bytes = b""


class Gate:
    """Makes the connections of one listener, and bounds how many there are.

    Each is either working or resting. A resting one waits for its caller: to send a request, the
    rest of it, or to take more of an answer.
    """

    def __init__(self, server: web.Server, limits: Limits) -> None:
        """Begin without a connection."""
        self._server = server
        self._limits = limits
        self.closing = False
        self._resting: dict[Connection, None] = {}  # the longest idle first
        self._working: set[Connection] = set()

    def __call__(self, begun: bytes = b"") -> Connection:
        """Make the protocol of a connection that was accepted, here or by another program."""
        return Connection(self._server, self, self._limits, begun)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._resting) + len(self._working)

    def enter(self, connection: Connection) -> bool:
        """Add a connection, replacing an idle one if full. Return False if none is idle."""
        if len(self) >= self._limits.connections:
            if not self._resting:
                return False
            oldest = next(iter(self._resting))
            del self._resting[oldest]
            oldest.abort()
        self._resting[connection] = None
        return True

    def pass_on(self) -> list[Caller]:
        """Detach and return all connections that can be passed on now."""
        passed_on = []
        for connection in (*self._resting, *self._working):
            if caller := connection.pass_on():
                self.leave(connection)
                passed_on.append(caller)
        return passed_on

    def leave(self, connection: Connection) -> None:
        self._resting.pop(connection, None)
        self._working.discard(connection)

    @contextmanager
    def at_work(self, connection: Connection) -> Iterator[None]:
        """Exempt a connection in the context, if it is open and while its caller reads."""
        connection.working = True
        self.place(connection)
        try:
            yield
        finally:
            connection.working = False
            self.place(connection)

    def place(self, connection: Connection) -> None:
        """Reclassify an open connection as working or idle."""
        if connection not in self._working and connection not in self._resting:
            return
        self.leave(connection)
        if connection.working and not connection.writing_paused:
            self._working.add(connection)
        else:
            self._resting[connection] = None


def at_work(request: web.Request) -> AbstractContextManager[None]:
    """Keep the connection of a request while the request is carried out."""
    connection = request.protocol
    return connection.at_work() if isinstance(connection, Connection) else nullcontext()


def is_leaving(request: web.Request) -> bool:
    """Return whether the request's connection closes with the response."""
    connection = request.protocol
    return isinstance(connection, Connection) and connection.leaving
