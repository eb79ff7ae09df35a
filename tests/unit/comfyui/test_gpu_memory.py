"""The memory of each GPU that an instance holds."""

import asyncio
import json

import pytest

from comfysup.comfyui.client import ComfyClient, new_session
from comfysup.comfyui.gpu_memory import held_memory, read_devices
from comfysup.model.observed import GpuUsage
from tests.unit.comfyui.servers import ComfyServer, FixedServer, answer

CARD = {
    "name": "cuda:0 NVIDIA H200 : cudaMallocAsync",
    "type": "cuda",
    "index": 0,
    "vram_total": 150_000_000_000,
    "vram_free": 149_000_000_000,
    "torch_vram_total": 7_000_000_000,
    "torch_vram_free": 30_000_000,
}


@pytest.mark.parametrize(("visible", "index"), [((), 0), ((3,), 3), ((2, 5), 2)])
def test_a_gpu_is_named_as_the_driver_counts(visible: tuple[int, ...], index: int) -> None:
    stats = {"system": {}, "devices": [CARD]}

    assert read_devices(stats, visible) == (GpuUsage(index, 7_000_000_000),)


def test_every_visible_gpu_is_counted() -> None:
    stats = {"devices": [CARD, {**CARD, "index": 1, "torch_vram_total": 5}]}

    assert read_devices(stats, (4, 2)) == (GpuUsage(4, 7_000_000_000), GpuUsage(2, 5))


@pytest.mark.parametrize(
    "stats",
    [
        None,
        [],
        {},
        {"devices": None},
        {"devices": [None, 3, {}]},
        {"devices": [{**CARD, "type": "cpu", "index": None}]},
        {"devices": [{**CARD, "torch_vram_total": "much"}]},
    ],
)
def test_a_device_that_is_not_a_gpu_has_no_memory(stats: object) -> None:
    assert read_devices(stats, ()) == ()


async def test_the_memory_is_read_from_system_stats() -> None:
    server = FixedServer(answer(json.dumps({"devices": [CARD]}).encode()))
    await server.listen()
    async with new_session() as session:
        found = await held_memory(ComfyClient(session, f"http://127.0.0.1:{server.port}"), ())
    await server.close()

    assert found == (GpuUsage(0, 7_000_000_000),)
    assert "/system_stats" in server.headers[0]


async def test_the_memory_of_an_unresponsive_instance_is_unknown() -> None:
    server = FixedServer(b"")
    await server.listen()
    async with new_session() as session:
        assert (
            await held_memory(ComfyClient(session, f"http://127.0.0.1:{server.port}"), ()) is None
        )
    await server.close()


async def test_a_response_in_several_pieces_is_read_completely() -> None:
    async def in_pieces(_path: str, writer: asyncio.StreamWriter) -> None:
        whole = answer(json.dumps({"devices": [CARD]}).encode())
        for piece in (whole[:-50], whole[-50:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)  # a packet of its own

    server = await ComfyServer(in_pieces).listen()
    async with new_session() as session:
        found = await held_memory(ComfyClient(session, f"http://127.0.0.1:{server.port}"), ())
    await server.close()

    assert found == (GpuUsage(0, 7_000_000_000),)
