"""What happens, as it happens: a stream of server-sent events that can be taken up again.

`aiohttp-sse` sends the headers and the pings, and lets the kernel end a connection whose other end
is gone. Its `send` would write every event anew for every reader; ours are bytes already.
"""

import asyncio
from socket import SO_SNDBUF, SOL_SOCKET

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from comfysup.fields.problems import shown
from comfysup.supervision.journal import Journal
from comfysup.web.announcer import missed
from comfysup.web.calls import Call
from comfysup.web.errors import InvalidRequestError, Mistake
from comfysup.web.schemas import EVENT_ID_DIGITS, EventsQuery
from comfysup.web.services import Services

log = structlog.get_logger()

PING_SECONDS = 15.0
"""Between two comments that keep proxies from ending a quiet stream."""

SEND_BUFFER = 64 << 10
"""Bytes of one stream that the kernel keeps (it doubles them); left alone it takes megabytes."""

GREETING = b": comfysup events\n\n"
"""Sent at once: without it the headers would wait for the first event."""

RETRY = b"retry: 2000\n"
"""Milliseconds after which a browser comes back. It stands in the first event that a reader gets;
by itself some libraries take it for an event without data."""

LAST_EVENT_ID = "Last-Event-ID"


async def follow_events(services: Services, call: Call[EventsQuery, None]) -> web.StreamResponse:
    """Send every event from now on, or all after the one that the reader says it had last.

    A reader that takes nothing, although there is something, is let go after a while.
    """
    position = _position(call)
    patience = services.audience.patience
    with services.audience.seat():
        stream = EventSourceResponse(sep="\n", ping_interval=PING_SECONDS, send_timeout=patience)
        await stream.prepare(call.request)
        bound_send_buffer(call.request)
        try:
            async with stream:
                await _copy(services.journal, position, stream, patience)
        except ConnectionError:
            pass  # gone: there is nobody to tell
        except TimeoutError:
            log.info("events.reader_dropped", patience=patience)
            if call.request.transport is not None:
                call.request.transport.abort()
    return stream


async def _copy(
    journal: Journal, position: int | None, stream: EventSourceResponse, patience: float
) -> None:
    """Send page after page until the journal is closed; raises `TimeoutError`."""
    if position is None:
        position = journal.newest
    await stream.write(GREETING)
    lead = RETRY
    while page := await journal.after(position):
        gap = () if page.missed == 0 else (missed(page.missed, page.position - len(page.entries)),)
        for event in (*gap, *page.entries):
            async with asyncio.timeout(patience):
                await stream.write(lead + event)
            lead = b""
        position = page.position


def _position(call: Call[EventsQuery, None]) -> int | None:
    """Return the id of the last event that the reader has; the header is newer than the query."""
    header = call.request.headers.get(LAST_EVENT_ID, "").strip()
    if not header:
        return call.query.last_event_id
    if header.isascii() and header.isdecimal() and len(header) <= EVENT_ID_DIGITS:
        return int(header)
    text = f"must be the id of an event, is {shown(header)}"
    raise InvalidRequestError([Mistake(("header", LAST_EVENT_ID), text, "event_id")])


def bound_send_buffer(request: web.Request) -> None:
    """Bound what the kernel keeps for a reader that takes nothing."""
    socket = request.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
