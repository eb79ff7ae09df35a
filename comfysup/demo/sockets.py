"""The websocket clients and their messages."""

import asyncio
import uuid
from typing import Any

from aiohttp import WSMsgType, web


class Clients:
    """Sends messages to clients in order, one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop that runs `publish`."""
        self._loop = loop
        self._remaining = 0
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._messages: asyncio.Queue[tuple[dict[str, Any], str | None]] = asyncio.Queue()

    def announce(self, kind: str, data: dict[str, Any], client: str | None = None) -> None:
        """Queue a message to one client, or to all; may be called from any thread."""
        message = ({"type": kind, "data": data}, client)
        self._loop.call_soon_threadsafe(self._messages.put_nowait, message)

    def announce_queue(self, remaining: int) -> None:
        """Queue a message to all clients with the number of running and queued prompts."""
        self._remaining = remaining
        self.announce("status", self._status())

    async def publish(self) -> None:
        """Send queued messages indefinitely."""
        while True:
            message, client = await self._messages.get()
            for name, socket in list(self._sockets.items()):
                if client in {None, name}:
                    await _send(socket, message)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client. A later client with the same id replaces it without closing it."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        name = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[name] = socket
        try:
            await _send(socket, {"type": "status", "data": self._status() | {"sid": name}})
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            if self._sockets.get(name) is socket:
                del self._sockets[name]
        return socket

    def _status(self) -> dict[str, Any]:
        return {"status": {"exec_info": {"queue_remaining": self._remaining}}}


async def _send(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    try:
        await socket.send_json(message)
    except ConnectionError:
        return  # disconnected; `connect` removes it
