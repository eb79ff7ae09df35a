"""What is known of a queue, and how soon."""

import json
from functools import partial

import pytest

from comfysup.comfyui import queue_api
from comfysup.system.state_file import StateFile
from tests.queue.conftest import Desk, Serve
from tests.queue.server import BusyServer, OldServer, QueueServer
from tests.scenarios.waiting import until


def knows(desk: Desk, number: int) -> bool:
    return len(desk.waiting) == number


async def test_what_waits_and_runs_is_known_when_watching_begins(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    server.take()

    watcher = desk.watch(server.url)

    await until(lambda: (desk.running, desk.waiting) == (["a"], ["b"]))
    assert watcher.has_work


async def test_a_change_at_the_same_depth_is_not_missed(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])

    server.waiting.pop()
    server.add("c")
    await server.tell()

    await until(lambda: desk.waiting == ["a", "c"])


async def test_an_idle_queue_is_not_asked_for(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    desk.watch(server.url, period=0.01)
    await until(lambda: server.looks)
    looks = server.looks

    for number in range(3):
        server.add(f"p{number}")
        await server.tell()
        await until(partial(knows, desk, number + 1))

    assert server.looks <= looks + 1 + 3


async def test_a_burst_of_changes_takes_few_looks(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    desk.watch(server.url)
    await until(lambda: server.looks)

    for number in range(200):
        server.add(f"p{number}")
        await server.tell()

    await until(lambda: len(desk.waiting) == 200)
    assert server.looks < 100


async def test_without_a_websocket_it_is_looked_at_in_each_period(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(OldServer())
    desk.watch(server.url, period=0.01)
    await until(lambda: server.looks)

    server.add("a")

    await until(lambda: desk.waiting == ["a"])


async def test_an_answer_that_cannot_be_read_leaves_what_is_known(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = BusyServer()
    server.faulty = False
    await serve(server)
    server.add("a")
    desk.watch(server.url, period=0.01)
    await until(lambda: desk.waiting == ["a"])
    server.faulty = True
    await server.tell()
    looks = server.looks
    await until(lambda: server.looks > looks + 2)

    assert desk.waiting == ["a"]
    server.faulty = False
    server.add("b")
    await until(lambda: desk.waiting == ["a", "b"])


async def test_a_queue_too_large_to_be_read_is_left_alone(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_api, "MAX_QUEUE_BYTES", 1000)
    server = await serve(QueueServer())
    watcher = desk.watch(server.url, period=0.01)
    server.add("a")
    await until(lambda: desk.waiting == ["a"])

    server.add(*(f"p{number}" for number in range(100)))
    await server.tell()

    looks = server.looks
    await until(lambda: server.looks > looks + 2)
    assert desk.waiting == ["a"]
    assert watcher.has_work


async def test_a_large_queue_is_read_in_a_thread(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add(*(f"p{number:04}" for number in range(1000)), extra_data={"workflow": "x" * 1000})
    desk.watch(server.url)

    await until(lambda: len(desk.waiting) == 1000)


async def test_what_is_known_is_on_disk(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.ledger.kept()

    next_ledger = desk.new_ledger()
    await next_ledger.load()

    assert next_ledger.backlog == desk.ledger.backlog


async def test_a_key_is_not_on_disk(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", extra_data={"api_key_comfy_org": "hush"})
    server.add("b", extra_data={"auth_token_comfy_org": "hush"})
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.ledger.kept()

    written = desk.path.read_text()

    assert "hush" not in written
    assert [each["id"] for each in json.loads(written)["waiting"]] == ["a", "b"]


async def test_an_emptied_backlog_leaves_no_file(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a")
    server.take()
    desk.watch(server.url)
    await until(desk.path.exists)

    server.finish()
    await server.tell()

    await until(lambda: not desk.path.exists())


@pytest.mark.parametrize("written", [b"{", b'{"form": 1}', b"\xff"])
async def test_a_file_that_cannot_be_read_is_kept_aside(desk: Desk, written: bytes) -> None:
    desk.path.write_bytes(written)

    await desk.ledger.load()

    assert desk.ledger.backlog.is_empty
    assert StateFile(desk.path.with_suffix(".broken")).read() == written
