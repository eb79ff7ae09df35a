"""Prompts that fail in a row are reported as a condition of the instance."""

from comfysup.comfyui.diagnosis.conditions import IN_A_ROW
from tests.scenarios.waiting import until, until_async
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import (
    QueueServer,
)


async def test_prompts_that_fail_in_a_row_by_an_error_of_the_gpu_are_a_condition(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    """They fail immediately, so that none is seen running."""
    server = await serve(QueueServer())
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    for number in range(IN_A_ROW):
        assert await watcher.condition() is None
        server.add(f"p{number}")
        await server.tell()
        await until(lambda: desk.backlog_store.backlog.told == 1)
        server.take()
        server.finish("CUDA error: device-side assert triggered\nCompile with ...")
        await server.tell()
        await until(lambda: desk.backlog_store.backlog.told == 0)

    condition = await watcher.condition()

    assert condition is not None
    assert condition.code == "gpu_fault"
    assert "CUDA error: device-side assert triggered" in condition.message
    assert await watcher.condition() is None


async def test_prompts_that_fail_before_the_websocket_is_connected_are_a_condition(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    server = await serve(QueueServer())
    for number in range(IN_A_ROW):
        server.add(f"p{number}")
        server.take()
        server.finish("CUDA error: device-side assert triggered\nCompile with ...")
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)

    condition = await until_async(watcher.condition)

    assert condition is not None
    assert condition.code == "gpu_fault"
