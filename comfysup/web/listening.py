"""Where the application is served: on the TCP port, and on the socket of the run directory."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from comfysup.web.connections import Gate
from comfysup.web.limits import Limits

LAST_ANSWERS = 1.0
"""Seconds that requests in flight get when it ends."""

AT_ONCE = 50
"""Connections that are accepted before anything else gets its turn."""

WAITING = 1_024
"""Connections that the kernel keeps for us meanwhile."""

DEFAULTS = Limits()


class ListenError(Exception):
    """A port or socket that cannot be had; the text says why."""


async def listen(
    app: web.Application,
    host: str,
    port: int,
    path: Path,
    resources: AsyncExitStack,
    limits: Limits = DEFAULTS,
) -> int:
    """Serve `app` on both until `resources` is closed, and return the port; raises `ListenError`.

    Each has a gate of its own: what strangers do on the port leaves the socket at `path` free.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LAST_ANSWERS)
    await runner.setup()
    resources.push_async_callback(runner.cleanup)
    server = runner.server
    if server is None:
        raise ListenError("cannot listen: the application did not start")
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(Gate(server, limits), host, port, backlog=AT_ONCE)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    resources.callback(listener.close)
    _let_wait(listener)
    port = listener.sockets[0].getsockname()[1]
    try:
        own = _private_socket(path)
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from error
    listener = await loop.create_unix_server(Gate(server, limits), sock=own, backlog=AT_ONCE)
    resources.callback(listener.close)
    return int(port)


def _private_socket(path: Path) -> socket.socket:
    """Bind a socket to which, from its first moment on, only our user can connect."""
    path.unlink(missing_ok=True)
    own = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        own.bind(str(path))
    except OSError:
        own.close()
        raise
    finally:
        os.umask(mask)
    return own


def _reason(error: OSError) -> str:
    """Return the reason alone: asyncio's own text repeats the address."""
    return os.strerror(error.errno) if error.errno else str(error)


def _let_wait(listener: asyncio.Server) -> None:
    """Let more connections wait than asyncio accepts at once, which it takes for one number."""
    for each in listener.sockets:
        with each.dup() as listening:
            listening.listen(WAITING)
