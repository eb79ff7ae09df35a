"""The log of an instance: its last lines and new ones, as text or as server-sent events.

`message` carries one or more whole lines (one `data` field each) and an id to resume from.
`progress` carries the current text of an unfinished line and replaces the previous one. `removed`
is the last event and reports that the instance was removed. A reader of `message` alone gets every
line once.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import structlog
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from comfysup.api.routes.events import LAST_EVENT_ID, PING_SECONDS, bound_send_buffer
from comfysup.api.schemas import LogsQuery
from comfysup.api.server.errors import ApiError
from comfysup.api.server.request import Call
from comfysup.api.services import Services
from comfysup.api.stream_limit import StreamSlot, drop
from comfysup.model.observed import LineBatch
from comfysup.supervision.instance import Instance

log = structlog.get_logger()

T = TypeVar("T")

LONGEST_PROGRESS = 4_096
"""Maximum number of characters shown of an unfinished line. Longer ones are not progress bars."""

EVENTS = "text/event-stream"
TEXT = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", "X-Accel-Buffering": "no"}


async def get_logs(services: Services, call: Call[LogsQuery, None]) -> web.StreamResponse:
    """Return the last lines.

    With `follow`, stream new lines, as events unless text is requested.
    """
    instance = services.fleet.find(call.ref)
    log_file = services.log_file(instance.spec.id)
    as_events = EVENTS in call.request.headers.get(hdrs.ACCEPT, "")
    lines = call.query.lines
    follows = as_events if call.query.follow is None else call.query.follow
    stream_limit = services.follower_limit if follows else services.log_reader_limit
    async with AsyncExitStack() as stack:
        slot = stack.enter_context(stream_limit.slot(call))
        bound_send_buffer(call.request)
        if not follows:
            history = await _open(stack, services.logs.history(log_file, lines), instance)
            return await _send_text(call.request, history, slot)

        def removal_notice() -> str:
            gone = all(each is not instance for each in services.fleet)
            return f"instance {instance.spec.label} was removed" if gone else ""

        if not as_events:
            text = await _open(stack, services.logs.follow(log_file, lines), instance)
            return await _send_text(call.request, text, slot, removal_notice)
        after = call.request.headers.get(LAST_EVENT_ID, "").strip()
        news = await _open(stack, services.logs.news(log_file, lines, after), instance)
        sending = EventSourceResponse(
            sep="\n", ping_interval=PING_SECONDS, send_timeout=stream_limit.patience
        )
        return await _send_events(call.request, news, slot, sending, removal_notice)


async def _open(
    stack: AsyncExitStack,
    reading: AbstractAsyncContextManager[AsyncIterator[T]],
    instance: Instance,
) -> AsyncIterator[T]:
    try:
        return await stack.enter_async_context(reading)
    except OSError as error:
        detail = f"cannot read the log of instance {instance.spec.label}: {error.strerror}"
        raise ApiError("log_unreadable", detail) from error


async def _send_text(
    request: web.Request,
    pieces: AsyncIterator[str],
    slot: StreamSlot,
    removal_notice: Callable[[], str] = lambda: "",
) -> web.StreamResponse:
    """Send all pieces, then the `removal_notice` on a separate line unless it is empty."""
    response = web.StreamResponse(headers=TEXT)
    try:
        await response.prepare(request)
        async for text in pieces:
            async with slot.writing():
                await response.write(text.encode())
        notice = removal_notice()
        async with slot.writing():
            await response.write_eof(f"[comfysup: {notice}]\n".encode() if notice else b"")
    except ConnectionError:
        pass  # the reader has disconnected
    except OSError as error:
        _drop(request, error)
    return response


async def _send_events(
    request: web.Request,
    pieces: AsyncIterator[LineBatch],
    slot: StreamSlot,
    stream: EventSourceResponse,
    removal_notice: Callable[[], str],
) -> web.StreamResponse:
    try:
        await stream.prepare(request)
        async with stream:
            async for news in pieces:
                async with slot.writing():
                    if news.text:
                        await stream.send(news.text.removesuffix("\n"), id=news.place or None)
                    if 0 < len(news.unfinished) <= LONGEST_PROGRESS:
                        await stream.send(news.unfinished, event="progress")
            if notice := removal_notice():
                async with slot.writing():
                    await stream.send(notice, event="removed")
    except ConnectionError:
        pass  # the reader has disconnected
    except OSError as error:
        _drop(request, error)
    return stream


def _drop(request: web.Request, error: OSError) -> None:
    """Disconnect a reader that does not read, or whose log is unreadable."""
    log.info("logs.follower_dropped", path=request.path, error=repr(error))
    drop(request)
