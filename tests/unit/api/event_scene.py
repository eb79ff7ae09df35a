"""An API whose instances cause events."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from comfysup.api.event_publisher import EventPublisher
from comfysup.api.services import StatusBoard
from comfysup.api.stream_limit import StreamLimit
from comfysup.api.views.serializers import present
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.lifecycle_events import LifecycleEvent, WaitFor
from tests.scenarios.waiting import until
from tests.unit.api.site import Site, World, services_of, site_of
from tests.unit.api.streams import EVENTS, following
from tests.unit.supervision.fakes import spec_of
from tests.unit.supervision.stage import now


@dataclass(frozen=True)
class Scene:
    """A site with a journal that the test writes."""

    site: Site
    journal: Journal
    publisher: EventPublisher
    stream_limit: StreamLimit

    def happen(self, count: int = 1, size: int = 10) -> None:
        for _ in range(count):
            self.journal.append(
                lambda number: b'event: test\nid: %d\ndata: "%s"\n\n' % (number, b"x" * size)
            )

    async def instance(self) -> Instance:
        result = await self.site.fleet.start(spec_of(0, name="main"), WaitFor.READY, 10)
        assert result.instance
        return result.instance

    async def told(self, instance: Instance, notice: LifecycleEvent) -> tuple[object, object]:
        """Return the reason and the message of an event."""
        async with following(self.site.client.get) as stream:
            self.publisher.instance(instance, notice)
            [event] = await stream.take(1)
        return event.data["reason"], event.data["message"]

    async def silent_reader(self, path: Path | None = None) -> socket.socket:
        """Request the events, optionally over a unix socket, without reading them."""
        own = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        own.setblocking(False)  # noqa: FBT003 - the standard library's own
        loop = asyncio.get_running_loop()
        if path:
            await self.site.serve_socket(path)
        address = str(path) if path else ("127.0.0.1", self.site.client.port)
        await loop.sock_connect(own, address)
        await loop.sock_sendall(own, f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await self.until_seated()
        return own

    async def until_seated(self, number: int = 1) -> None:
        await until(lambda: self.stream_limit.taken == number)


@asynccontextmanager
async def scene(
    slots: int = 10, patience: float = 30.0, first_id: int = 1, keep: int = 1_000
) -> AsyncIterator[Scene]:
    journal, stream_limit = Journal(first_id, keep), StreamLimit(slots, patience)
    world = World(journal=journal, stream_limit=stream_limit)
    async with site_of(world) as site:
        services = services_of(site.fleet, StatusBoard(), world)
        publisher = EventPublisher(journal, now, lambda instance: present(instance, services))
        yield Scene(site, journal, publisher, stream_limit)
        journal.close()
