"""Small real servers that answer as ComfyUI does, or misbehave by name."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Self

STATS = {
    "system": {"os": "posix", "comfyui_version": "0.3.64", "python_version": "3.11.7 (main)"},
    "devices": [{"name": "cpu", "type": "cpu"}],
}
QUEUE = {"exec_info": {"queue_remaining": 0}}


def answer(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


Responder = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


async def as_comfyui(path: str, writer: asyncio.StreamWriter) -> None:
    known = {"/system_stats": STATS, "/prompt": QUEUE}
    writer.write(answer(json.dumps(known[path]).encode()))


class ComfyServer:
    """Answers as ComfyUI. `asked` counts the requests, `peers` the connections they came by."""

    def __init__(self, respond: Responder = as_comfyui) -> None:
        self.asked = 0
        self.peers: list[int] = []
        self.headers: list[str] = []
        self.port = 0
        self._respond = respond
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def listen(self, port: int = 0, tls: ssl.SSLContext | None = None) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", port, ssl=tls, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        # Some turns of the loop: asyncio (3.11) leaks what it has accepted and not yet handed on.
        for _ in range(5):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        for task, writer in self._connections.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def was_asked(self, times: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.asked >= times)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.headers.append(head)
            self.peers.append(writer.get_extra_info("peername")[1])
            async with self._changed:
                self.asked += 1
                self._changed.notify_all()
            await self._respond(head.split()[1], writer)
            await writer.drain()
            await reader.read()  # until the other side has closed: it may keep the connection


class SilentServer(ComfyServer):
    """Accepts every request and never responds: an event loop that hangs."""

    def __init__(self) -> None:
        super().__init__(self._never)

    async def _never(self, path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()


class SlowServer(ComfyServer):
    """Answers once `released` is set."""

    def __init__(self) -> None:
        super().__init__(self._late)
        self.released = asyncio.Event()

    async def _late(self, path: str, writer: asyncio.StreamWriter) -> None:
        await self.released.wait()
        await as_comfyui(path, writer)


class TricklingServer(ComfyServer):
    """Begins its response and never ends it."""

    def __init__(self) -> None:
        super().__init__(self._begin)

    async def _begin(self, path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"system":')
        await writer.drain()
        await asyncio.Event().wait()


class FixedServer(ComfyServer):
    """Answers everything with the same bytes, then closes the connection."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(self._repeat)
        self._reply = reply

    async def _repeat(self, path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(self._reply)
        await writer.drain()
        writer.close()


class RedirectingServer(ComfyServer):
    """Redirects every request to a port with a valid server."""

    def __init__(self, to: int) -> None:
        super().__init__(self._redirect)
        self._to = to

    async def _redirect(self, path: str, writer: asyncio.StreamWriter) -> None:
        where = f"Location: http://127.0.0.1:{self._to}{path}\r\n"
        writer.write(answer(b"", "302 Found", where))


class EndlessServer(ComfyServer):
    """Responds endlessly, as fast as it is read. `sent` is the number of bytes sent."""

    def __init__(self) -> None:
        super().__init__(self._flood)
        self.sent = 0

    async def _flood(self, path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while True:
            writer.write(chunk)
            await writer.drain()
            self.sent += len(chunk)


NOT_COMFYUI: dict[str, Callable[[], ComfyServer]] = {
    "an error": lambda: FixedServer(answer(b"{}", "500 Internal Server Error")),
    "the right answer with the wrong status": lambda: FixedServer(
        answer(json.dumps(STATS | QUEUE).encode(), "203 Non-Authoritative Information")
    ),
    "a web page": lambda: FixedServer(answer(b"<html>It works!</html>")),
    "other JSON": lambda: FixedServer(answer(b'{"status": "ok"}')),
    "a list": lambda: FixedServer(answer(b"[]")),
    "the right keys with wrong values": lambda: FixedServer(
        answer(b'{"system": 1, "devices": [], "exec_info": {"queue_remaining": "0"}}')
    ),
    "nothing": lambda: FixedServer(b""),
    "an empty body": lambda: FixedServer(answer(b"")),
    "no UTF-8": lambda: FixedServer(answer(b'{"system": "\xff"}')),
    "JSON 100,000 levels deep": lambda: FixedServer(answer(b"[" * 100_000)),
    "no HTTP": lambda: FixedServer(b"220 mail.example.com ESMTP\r\n"),
    "half an answer": lambda: FixedServer(answer(b'{"system"')[:-3]),
    "a header without end": lambda: FixedServer(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
    "a body without end": EndlessServer,
    "a compressed body": lambda: FixedServer(
        answer(b"\x1f\x8b\x08\x00", extra="Content-Encoding: gzip\r\n")
    ),
}
