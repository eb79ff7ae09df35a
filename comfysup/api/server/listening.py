"""Serves the application on the TCP port and on the socket of the run directory."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from comfysup.api.server.connections import Caller, Gate
from comfysup.api.server.limits import Limits
from comfysup.supervision.tasks import bounded

LAST_ANSWERS = 1.0
"""Seconds that requests in flight get when it ends."""

CLEANUP_PATIENCE = 5.0
"""Seconds for the end of all connections, the last answers included."""

TURNS = 20
"""Event loop turns within which an accepted connection reaches `Connection`."""

PAUSE = 0.002
"""Seconds between checks for connections whose requests have been answered."""

AT_ONCE = 50
"""Connections that are accepted before anything else gets its turn."""

WAITING = 1_024
"""Connections that the kernel keeps for us meanwhile."""

DEFAULTS = Limits()


class ListenError(Exception):
    """A port or socket is unavailable. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """Descriptors of sockets that listen already, on the port and in the run directory.

    With the connections that came through each, and wait for a request.
    """

    tcp: Sequence[int]
    own: Sequence[int]
    tcp_callers: Sequence[Caller] = ()
    own_callers: Sequence[Caller] = ()


class Listening:
    """The listeners and connections while the API is served."""

    def __init__(
        self, tcp: Sequence[asyncio.Server], own: asyncio.Server, gates: Sequence[Gate]
    ) -> None:
        """`tcp` holds one or more listeners, because a host can have several addresses."""
        self._tcp = tcp
        self._own = own
        self._gates = gates

    @property
    def port(self) -> int:
        return int(self._tcp[0].sockets[0].getsockname()[1])

    async def listen_anew(self, path: Path) -> None:
        """Listen at `path` again after the socket file was removed. Raises OSError."""
        before = self._own
        self._own = await _serve_at(self._gates[1], _private_socket(path))
        before.close()

    def close(self) -> None:
        """Take no new connection."""
        for server in (*self._tcp, self._own):
            server.close()

    async def pass_on(self, see_off: Callable[[], None]) -> Inherited:
        """Return what another program needs to continue all connections without interruption.

        Stops accepting. Each connection is passed on when it is idle; a request that has been read
        is answered first. `see_off` is called repeatedly to end long responses.
        """
        tcp = [each.fileno() for server in self._tcp for each in server.sockets]
        own = [each.fileno() for each in self._own.sockets]
        loop = asyncio.get_running_loop()
        for each in (*tcp, *own):
            # A closed server drops connections that it has accepted but not yet set up.
            loop.remove_reader(each)
        kept_tcp, kept_own = (
            [*map(os.dup, tcp)],
            [*map(os.dup, own)],
        )  # before callers do
        callers: tuple[list[Caller], ...] = tuple([] for _ in self._gates)
        give_up = loop.time() + LAST_ANSWERS
        turns = 0
        while turns < TURNS or (any(map(len, self._gates)) and loop.time() < give_up):
            see_off()
            for found, gate in zip(callers, self._gates, strict=True):
                found.extend(gate.pass_on())
            await asyncio.sleep(0 if turns < TURNS else PAUSE)
            turns += 1
        for gate in self._gates:
            gate.closing = True  # the remaining callers learn it from their response
        return Inherited(kept_tcp, kept_own, *callers)


async def listen(
    app: web.Application,
    host: str,
    port: int,
    path: Path,
    resources: AsyncExitStack,
    limits: Limits = DEFAULTS,
    inherited: Inherited | None = None,
) -> Listening:
    """Serve `app` on both until `resources` is closed. Raises `ListenError`.

    Port and socket have separate limits, so clients of the port cannot occupy the socket at `path`.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LAST_ANSWERS)
    await runner.setup()
    resources.push_async_callback(bounded, runner.cleanup, CLEANUP_PATIENCE)
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
        raise ListenError(
            f"cannot listen on {host}:{port}: {_reason(error)}; "
            "COMFYSUP_HOST and COMFYSUP_PORT name another address"
        ) from error
    for server in tcp:
        _let_wait(server)
    try:
        bound = socket.socket(fileno=inherited.own[0]) if inherited else _private_socket(path)
    except OSError as error:
        for server in tcp:
            server.close()
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from error
    doors = Listening(tcp, await _serve_at(gates[1], bound), gates)
    resources.callback(doors.close)
    if inherited:
        for gate, callers in zip(
            gates, (inherited.tcp_callers, inherited.own_callers), strict=True
        ):
            for each in callers:
                await loop.connect_accepted_socket(
                    partial(gate, each.begun), socket.socket(fileno=each.descriptor)
                )
    return doors


async def _serve_at(gate: Gate, bound: socket.socket) -> asyncio.Server:
    """Serve on a unix socket; its file stays when the server is closed, for the next program."""
    options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(gate, sock=bound, backlog=AT_ONCE, **options)
    _let_wait(server)
    return server


def _addresses(host: str, port: int, inherited: Inherited | None) -> list[dict[str, Any]]:
    """Return asyncio's arguments for the listeners: inherited sockets, or an address."""
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
    if isinstance(error, socket.gaierror):  # its numbers are not those of the system
        return f"no such host ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error)


def _let_wait(listener: asyncio.Server) -> None:
    """Raise the listen backlog, for which asyncio uses its number of accepts per turn.

    A unix socket with a full backlog refuses with EAGAIN. asyncio takes that for a connection in
    progress and lets the caller write to an unconnected socket.
    """
    for each in listener.sockets:
        with each.dup() as listening:
            listening.listen(WAITING)
