"""The application, listening as in the daemon, and callers that send bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from comfysup.api.server.app import make_app
from comfysup.api.server.limits import Limits
from comfysup.api.server.listening import Inherited, Listening, listen
from comfysup.api.services import StatusBoard
from comfysup.supervision.fleet import Fleet
from tests.unit.api.site import API, RESERVED_PORT, World, services_of

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
START = (
    f"POST {API}/start-single HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    'Content-Length: 9\r\n\r\n{"id": 0}'
).encode()


@dataclass
class Caller:
    """One connection that sends and receives bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ") for line in head.split(b"\r\n")[1:-2])
        body = await self.reader.readexactly(int(fields[b"Content-Length"]))
        return int(head.split()[1]), body

    async def ask(self, request: bytes = GET) -> int:
        self.writer.write(request)
        return (await self.answer())[0]

    async def let_go(self) -> None:
        """Return once the other side has closed the connection."""
        with suppress(ConnectionError):
            await self.reader.read()

    async def hang_up(self) -> None:
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Port:
    """The application, listening as in the daemon."""

    number: int
    socket: Path
    fleet: Fleet
    doors: Listening
    resources: AsyncExitStack

    async def connect(self, *, limit: int = 2**16) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.number, limit=limit))
        self.resources.push_async_callback(caller.hang_up)
        return caller


@asynccontextmanager
async def listening(
    directory: Path,
    limits: Limits,
    world: World | None = None,
    inherited: Inherited | None = None,
) -> AsyncIterator[Port]:
    world = world or World()
    async with AsyncExitStack() as resources:
        fleet = Fleet(world.stage.context, RESERVED_PORT)
        resources.push_async_callback(fleet.release)
        app = make_app(services_of(fleet, StatusBoard(), world), world.admission, limits)
        path = directory / "socket"
        doors = await listen(app, "127.0.0.1", 0, path, resources, limits, inherited)
        yield Port(doors.port, path, fleet, doors, resources)
