"""The log of an instance: its last lines, and what comes then, as text or as server-sent events.

As events, `message` brings one or more whole lines (`data` has a line for each), with an id to go
on from; `progress` brings what stands so far of a line that is not finished, each replacing the
one before. Whoever listens to messages alone gets every line once.
"""

from asyncio import timeout
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import structlog
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from comfysup.supervision.instance import Instance
from comfysup.web.calls import Call
from comfysup.web.errors import ApiError
from comfysup.web.events import LAST_EVENT_ID, PING_SECONDS, bound_send_buffer
from comfysup.web.schemas import LogsQuery
from comfysup.web.services import LogNews, Services

log = structlog.get_logger()

T = TypeVar("T")

LONGEST_PROGRESS = 4_096
"""Characters of an unfinished line that are shown; what is longer is no progress bar."""

EVENTS = "text/event-stream"
TEXT = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", "X-Accel-Buffering": "no"}


async def get_logs(services: Services, call: Call[LogsQuery, None]) -> web.StreamResponse:
    """Answer the last lines; follow where that is asked for, and as events unless it is not."""
    instance = services.fleet.find(call.ref)
    log_file = services.log_file(instance.spec.id)
    as_events = EVENTS in call.request.headers.get(hdrs.ACCEPT, "")
    lines = call.query.lines
    async with AsyncExitStack() as stack:
        if not (as_events if call.query.follow is None else call.query.follow):
            history = await _open(stack, services.logs.history(log_file, lines), instance)
            return await _send_text(services, call, history)
        stack.enter_context(services.log_audience.seat())
        bound_send_buffer(call.request)
        if not as_events:
            text = await _open(stack, services.logs.follow(log_file, lines), instance)
            return await _send_text(services, call, text)
        after = call.request.headers.get(LAST_EVENT_ID, "").strip()
        news = await _open(stack, services.logs.news(log_file, lines, after), instance)
        return await _send_news(services, call, news)


async def _open(
    stack: AsyncExitStack,
    reading: AbstractAsyncContextManager[AsyncIterator[T]],
    instance: Instance,
) -> AsyncIterator[T]:
    try:
        return await stack.enter_async_context(reading)
    except OSError as error:
        detail = f"cannot read the log of instance {instance.spec.label}: {error.strerror}"
        raise ApiError(500, "log_unreadable", detail) from error


async def _send_text(
    services: Services, call: Call[LogsQuery, None], pieces: AsyncIterator[str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=TEXT)
    await response.prepare(call.request)
    try:
        async for text in pieces:
            async with timeout(services.log_audience.patience):
                await response.write(text.encode())
        await response.write_eof()
    except ConnectionError:
        pass  # gone: there is nobody to tell
    except OSError as error:
        _drop(call.request, error)
    return response


async def _send_news(
    services: Services, call: Call[LogsQuery, None], pieces: AsyncIterator[LogNews]
) -> web.StreamResponse:
    patience = services.log_audience.patience
    stream = EventSourceResponse(sep="\n", ping_interval=PING_SECONDS, send_timeout=patience)
    await stream.prepare(call.request)
    try:
        async with stream:
            async for news in pieces:
                if news.text:
                    await stream.send(news.text.removesuffix("\n"), id=news.place or None)
                if 0 < len(news.unfinished) <= LONGEST_PROGRESS:
                    await stream.send(news.unfinished, event="progress")
    except ConnectionError:
        pass  # gone: there is nobody to tell
    except OSError as error:
        _drop(call.request, error)
    return stream


def _drop(request: web.Request, error: OSError) -> None:
    """Let go of a follower that takes nothing, or whose log cannot be read on."""
    log.info("logs.follower_dropped", path=request.path, error=repr(error))
    if request.transport is not None:
        request.transport.abort()
