"""What a watcher stores of a queue."""

import json

import pytest

from comfysup.linux.rundir.state_file import StateFile
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import (
    QueueServer,
)


async def test_the_known_queue_is_saved(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", "b")
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.backlog_store.kept()

    next_ledger = desk.new_ledger()
    await next_ledger.load()

    assert next_ledger.backlog == desk.backlog_store.backlog.connected()


async def test_an_api_key_is_not_written_to_disk(desk: Desk, serve: Serve[QueueServer]) -> None:
    server = await serve(QueueServer())
    server.add("a", extra_data={"api_key_comfy_org": "hush"})
    server.add("b", extra_data={"auth_token_comfy_org": "hush"})
    desk.watch(server.url)
    await until(lambda: desk.waiting == ["a", "b"])
    await desk.backlog_store.kept()

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
    assert desk.running == desk.waiting == []


@pytest.mark.parametrize("written", [b"{", b'{"form": 1}', b"\xff"])
async def test_a_file_that_cannot_be_read_is_kept_aside(desk: Desk, written: bytes) -> None:
    desk.path.write_bytes(written)

    await desk.backlog_store.load()

    assert desk.backlog_store.backlog.is_empty
    assert StateFile(desk.path.with_suffix(".broken")).read() == written
