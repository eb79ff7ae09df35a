"""What happens, as it happens: a stream of server-sent events that can be taken up again.

`aiohttp-sse` sends the headers and the pings, and lets the kernel end a connection whose other end
is gone. Its `send` would write every event anew for every reader; ours are bytes already.
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
"""Bytes of one stream that the kernel keeps (it doubles them); left alone it takes megabytes."""

GREETING = b": comfysup events\n\n"
"""Sent at once: without it the headers would wait for the first event."""

RETRY = b"retry: 2000\n"
"""Milliseconds after which a browser comes back. It stands in the first event that a reader gets;
by itself some libraries take it for an event without data."""

LAST_EVENT_ID = "Last-Event-ID"


async def follow_events(services: Services, call: Call[EventsQuery, None]) -> web.StreamResponse:
    """Send every event from now on, or all after the one that the reader says it had last.

    The header `Last-Event-ID` of the answer says where the stream begins, for readers that lose the
    connection before the first event. A reader that takes nothing, although there is something, is
    let go after a while.
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
            pass  # gone: there is nobody to tell
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
    """Return the id of the last event that the reader has; the header is newer than the query.

    0 in the query is before the first event of this life: such a reader has none, and misses none.
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
    """Bound what the kernel keeps for a reader that takes nothing."""
    socket = request.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
