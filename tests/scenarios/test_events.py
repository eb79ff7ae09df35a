"""The event stream of a real daemon: scenario 36, restarts and shutdown."""

import asyncio
import os
import signal
import socket
from pathlib import Path

from tests.scenarios.client import API
from tests.scenarios.events import events_of
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import NEVER, until
from tests.unit.api.streams import Event


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def names(events: list[Event]) -> list[str]:
    return [event.name.removeprefix("instance.") for event in events]


async def test_events_report_an_instance_from_its_start_to_its_removal(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    async with events_of(daemon) as stream:
        await daemon.api.start(0, daemon.ports.reserve())
        begun = await stream.take(2)
        pid = begun[0].data["instance"]["pid"]
        os.kill(pid, signal.SIGKILL)
        died = await stream.take(4)
        await daemon.api.act(0, "stop")
        await daemon.api.ask("DELETE", f"{API}/instances/0")
        ended = await stream.take(4)

    assert names(begun) == ["starting", "ready"]
    assert names(died) == ["exited", "backoff", "starting", "ready"]
    assert names(ended) == ["stopping", "exited", "stopped", "removed"]
    assert [event.id for event in begun + died + ended] == list(
        range(begun[0].id, begun[0].id + 10)
    )
    exited = died[0].data
    assert exited["reason"] == exited["instance"]["last_exit"]["reason"]
    assert exited["instance"]["last_exit"]["signal"] == "SIGKILL"
    assert exited["instance"]["pid"] == pid
    assert [event.data["instance"]["state"] for event in died] == [
        "stopping",
        "backoff",
        "starting",
        "running",
    ]


async def test_a_returning_reader_receives_the_events_it_missed(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    async with events_of(daemon) as stream:
        await daemon.api.start(0, daemon.ports.reserve())
        *_, last = await stream.take(2)
    await daemon.api.act(0, "stop")

    async with events_of(daemon, last=last.id) as stream:
        missed = await stream.take(3)

    assert names(missed) == ["stopping", "exited", "stopped"]
    assert missed[0].id == last.id + 1


async def test_a_reader_receives_all_events_of_a_shutdown(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    await daemon.api.start(0, daemon.ports.reserve())
    async with events_of(daemon) as stream:
        daemon.signal(signal.SIGTERM)
        events = await stream.rest()
    await daemon.ended()

    assert names(events) == ["daemon.stopping", "stopping", "exited", "stopped"]
    assert events[0].data["pid"] == daemon.pid


async def test_ids_grow_over_a_death_of_the_daemon(daemon: Daemon) -> None:
    await daemon.start()
    async with events_of(daemon, last=0) as stream:
        gap, first = await stream.take(2)
    daemon.signal(signal.SIGKILL)
    await daemon.ended()
    await daemon.api.close()
    await daemon.start()

    async with events_of(daemon, last=first.id) as stream:
        unknown, second = await stream.take(2)

    assert [gap.name, unknown.name] == ["events.missed", "events.missed"]
    assert [gap.data, unknown.data] == [{"missed": None}, {"missed": None}]
    assert [first.name, second.name] == ["daemon.started", "daemon.started"]
    assert second.id > first.id


async def test_a_reader_of_all_events_misses_none_over_a_restart_in_place(
    daemon: Daemon,
) -> None:
    await daemon.start()
    async with events_of(daemon) as stream:
        await daemon.api.ask("POST", f"{API}/daemon/restart")
        told = await stream.rest()

    async with events_of(daemon, last=told[-1].id) as stream:
        (first,) = await stream.take(1)
    async with events_of(daemon, last=told[-1].id - 1) as stream:
        gap, *_ = await stream.take(1)

    assert (names(told)[-1], first.name) == ("daemon.stopping", "daemon.started")
    assert first.id == told[-1].id + 1
    assert (gap.name, gap.data) == ("events.missed", {"missed": None})


async def test_readers_that_do_not_read_delay_neither_other_readers_nor_the_shutdown(
    daemon: Daemon,
) -> None:
    """Scenario 36. Their connections are full when the daemon is told to shut down."""
    Program(daemon.workspace, script="for n in $(seq 40); do echo $n; done; exit 3")
    await daemon.start(
        max_failures=10_000, backoff_initial=0.001, backoff_max=0.002, shutdown_grace=NEVER
    )
    silent = []
    for _ in range(20):
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        own.connect(("127.0.0.1", daemon.port))
        own.sendall(b"GET /api/comfyui/events HTTP/1.1\r\nHost: x\r\n\r\n")
        silent.append(own)
    async with events_of(daemon) as stream:
        await daemon.api.start(0, daemon.ports.reserve(), wait={"wait": "spawn"})
        await stream.take(300)
        daemon.signal(signal.SIGTERM)

        assert await daemon.ended() == 0

    for own in silent:
        own.close()


async def test_a_disconnected_reader_releases_its_descriptor(daemon: Daemon) -> None:
    await daemon.start()
    before = descriptors(daemon.pid)
    for _ in range(300):  # more than may follow at the same time
        async with events_of(daemon):
            pass

    await until(lambda: descriptors(daemon.pid) <= before + 1)
    async with events_of(daemon) as stream:
        assert stream.answer.status == 200


async def test_two_hundred_readers_get_every_event(daemon: Daemon) -> None:
    Program(daemon.workspace)
    await daemon.start()
    port = daemon.ports.reserve()

    async def read(entered: asyncio.Semaphore) -> list[int]:
        async with events_of(daemon) as stream:
            entered.release()
            return [event.id for event in await stream.take(20)]

    entered = asyncio.Semaphore(0)
    readers = [asyncio.create_task(read(entered)) for _ in range(200)]
    for _ in readers:
        await entered.acquire()
    for _ in range(4):
        await daemon.api.start(0, port)
        await daemon.api.act(0, "stop")
    found = await asyncio.gather(*readers)

    assert len({tuple(ids) for ids in found}) == 1
    assert found[0] == list(range(found[0][0], found[0][0] + 20))
