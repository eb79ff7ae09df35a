"""Events as a stream of server-sent events that a reader can resume.

`aiohttp-sse` sends headers and pings, and has the kernel end dead connections. Its `send` would
encode every event for every reader; here events are already bytes.
"""

from socket import SO_SNDBUF, SOL_SOCKET

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from comfysup.api.event_publisher import missed
from comfysup.api.schemas import EVENT_ID_DIGITS, EventsQuery
from comfysup.api.server.errors import FieldError, InvalidRequestError
from comfysup.api.server.request import Call
from comfysup.api.services import Services
from comfysup.api.stream_limit import StreamSlot, drop
from comfysup.config.field_errors import shown
from comfysup.supervision.journal import Journal

log = structlog.get_logger()

PING_SECONDS = 15.0
"""Between two comments that keep proxies from ending a quiet stream."""

SEND_BUFFER = 64 << 10
"""Send buffer of one stream in bytes; the kernel doubles it. Its default takes megabytes."""

GREETING = b": comfysup events\n\n"
"""Sent at once: without it the headers would wait for the first event."""

RETRY = b"retry: 2000\n"
"""Milliseconds before a browser reconnects.

Sent with the reader's first event, because some libraries take it alone for an event without data.
"""

LAST_EVENT_ID = "Last-Event-ID"


async def follow_events(services: Services, call: Call[EventsQuery, None]) -> web.StreamResponse:
    """Send every event from now on, or all events after the last one that the reader has.

    The response header `Last-Event-ID` gives the start of the stream, for readers that lose the
    connection before the first event. A reader that does not read pending data is disconnected.
    """
    position = _position(call, services.journal)
    patience = services.stream_limit.patience
    with services.stream_limit.slot(call) as slot:
        stream = EventSourceResponse(sep="\n", ping_interval=PING_SECONDS, send_timeout=patience)
        stream.headers[LAST_EVENT_ID] = str(position)
        try:
            await stream.prepare(call.request)
            bound_send_buffer(call.request)
            async with stream:
                await _copy(services.journal, position, stream, slot)
        except ConnectionError:
            pass  # the reader has disconnected
        except TimeoutError:
            log.info("events.reader_dropped", patience=patience)
            drop(call.request)
    return stream


async def _copy(
    journal: Journal, position: int, stream: EventSourceResponse, slot: StreamSlot
) -> None:
    """Send page after page until the journal is closed; raises `TimeoutError`."""
    await stream.write(GREETING)
    lead = RETRY
    while page := await journal.after(position):
        gap = () if page.missed == 0 else (missed(page.missed, page.position - len(page.entries)),)
        for event in (*gap, *page.entries):
            async with slot.writing():
                await stream.write(lead + event)
            lead = b""
        position = page.position


def _position(call: Call[EventsQuery, None], journal: Journal) -> int:
    """Return the id of the reader's last event; the header takes precedence over the query.

    0 in the query precedes the first event of this daemon: that reader has no events and misses
    none.
    """
    header = call.request.headers.get(LAST_EVENT_ID, "").strip()
    if not header:
        last = call.query.last_event_id
        return journal.newest if last is None else last or journal.beginning
    if header.isascii() and header.isdecimal() and len(header) <= EVENT_ID_DIGITS:
        return int(header)
    text = f"must be the id of an event, is {shown(header)}"
    raise InvalidRequestError([FieldError(("header", LAST_EVENT_ID), text, "event_id")])


def bound_send_buffer(request: web.Request) -> None:
    """Limit the kernel's send buffer for a reader that does not read."""
    socket = request.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
