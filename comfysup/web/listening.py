"""Where the application is served: on the TCP port, and on the socket of the run directory."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from comfysup.web.connections import FAREWELL, Gate
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


@dataclass(frozen=True, slots=True)
class Inherited:
    """Descriptors of sockets that listen already, on the port and in the run directory.

    With those of the connections that came through each, and wait for a request.
    """

    tcp: Sequence[int]
    own: Sequence[int]
    tcp_callers: Sequence[int] = ()
    own_callers: Sequence[int] = ()


class Listening:
    """What is served, while it is."""

    def __init__(
        self, tcp: Sequence[asyncio.Server], own: asyncio.Server, gates: Sequence[Gate]
    ) -> None:
        """`tcp` are one or more, since a name may have several addresses."""
        self._tcp = tcp
        self._own = own
        self._gates = gates

    @property
    def port(self) -> int:
        return int(self._tcp[0].sockets[0].getsockname()[1])

    async def pass_on(self) -> Inherited:
        """Return what another program needs to go on, so that nobody there notices.

        No new connection is taken here any more. What is asked is answered still, and who asked
        waits for nothing else; all others are passed on.
        """
        tcp = [each.fileno() for server in self._tcp for each in server.sockets]
        own = [each.fileno() for each in self._own.sockets]
        loop = asyncio.get_running_loop()
        for each in (*tcp, *own):
            # A server that is closed drops what it has accepted and not yet made a connection of.
            loop.remove_reader(each)
        await asyncio.sleep(FAREWELL)
        tcp_callers, own_callers = (gate.pass_on() for gate in self._gates)
        return Inherited([*map(os.dup, tcp)], [*map(os.dup, own)], tcp_callers, own_callers)


async def listen(
    app: web.Application,
    host: str,
    port: int,
    path: Path,
    resources: AsyncExitStack,
    limits: Limits = DEFAULTS,
    inherited: Inherited | None = None,
) -> Listening:
    """Serve `app` on both until `resources` is closed; raises `ListenError`.

    Each has a gate of its own: what strangers do on the port leaves the socket at `path` free.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LAST_ANSWERS)
    await runner.setup()
    resources.push_async_callback(runner.cleanup)
    application = runner.server
    if application is None:
        raise ListenError("cannot listen: the application did not start")
    loop = asyncio.get_running_loop()
    gates = (Gate(application, limits), Gate(application, limits))
    try:
        tcp = [
            await loop.create_server(gates[0], **address, backlog=AT_ONCE)
            for address in _addresses(host, port, inherited)
        ]
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    for server in tcp:
        resources.callback(server.close)
        _let_wait(server)
    try:
        bound = socket.socket(fileno=inherited.own[0]) if inherited else _private_socket(path)
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from error
    own = await loop.create_unix_server(gates[1], sock=bound, backlog=AT_ONCE)
    resources.callback(own.close)
    if inherited:
        for gate, callers in zip(
            gates, (inherited.tcp_callers, inherited.own_callers), strict=True
        ):
            for each in callers:
                await loop.connect_accepted_socket(gate, socket.socket(fileno=each))
    return Listening(tcp, own, gates)


def _addresses(host: str, port: int, inherited: Inherited | None) -> list[dict[str, Any]]:
    """Return what asyncio is to listen on: sockets that are there, or an address."""
    if inherited:
        return [{"sock": socket.socket(fileno=each)} for each in inherited.tcp]
    return [{"host": host, "port": port}]


def _private_socket(path: Path) -> socket.socket:
    """Bind a socket to which, from its first moment on, only our user can connect."""
    path.unlink(missing_ok=True)
    own = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(own.fileno(), 0o600)  # Linux makes the file with the mode of the socket
        own.bind(str(path))
    except OSError:
        own.close()
        raise
    return own


def _reason(error: OSError) -> str:
    """Return the reason alone: asyncio's own text repeats the address."""
    return os.strerror(error.errno) if error.errno else str(error)


def _let_wait(listener: asyncio.Server) -> None:
    """Let more connections wait than asyncio accepts at once, which it takes for one number."""
    for each in listener.sockets:
        with each.dup() as listening:
            listening.listen(WAITING)
