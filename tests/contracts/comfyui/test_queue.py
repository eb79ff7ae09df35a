import time
from pathlib import Path

import aiohttp

from tests.contracts.comfyui.conftest import Start
from tests.contracts.comfyui.running import PREVIEW, Running, node, sleep
from tests.scenarios.waiting import bounded


async def submit_sleepers(running: Running, *ids: str, **more: object) -> None:
    for prompt_id in ids:
        answer = await running.submit(sleep(60), prompt_id=prompt_id, **more)
        assert answer["status"] == 200


async def queue(running: Running) -> tuple[list[str], list[str]]:
    """The ids of the running and of the waiting prompts, in the order of execution."""
    body = (await running.ask("GET", "/queue"))["body"]
    waiting = sorted(body["queue_pending"], key=lambda entry: (entry[0], entry[1]))
    return [e[1] for e in body["queue_running"]], [e[1] for e in waiting]


async def is_executing(running: Running) -> None:
    """Wait for the progress of a sleeper: an interruption before its first node has no effect."""
    async with running.client.ws_connect(running.url("/ws")) as socket:
        while (await socket.receive_json())["type"] != "progress":
            pass


async def status(socket: aiohttp.ClientWebSocketResponse) -> int:
    while (message := await socket.receive_json())["type"] != "status":
        pass
    remaining: int = message["data"]["status"]["exec_info"]["queue_remaining"]
    return remaining


async def test_every_websocket_client_receives_every_queue_change(start: Start) -> None:
    running = await (await start()).ready()
    async with running.client.ws_connect(running.url("/ws")) as socket:
        assert await status(socket) == 0
        await submit_sleepers(running, "a")
        assert [await status(socket), await status(socket)] == [1, 1]
        await submit_sleepers(running, "b", "c")
        assert [await status(socket), await status(socket)] == [2, 3]
        await running.ask("POST", "/queue", json={"delete": ["b", "a", "nobody"]})
        assert await status(socket) == 2
        await running.ask("POST", "/queue", json={"clear": True})
        assert await status(socket) == 1
        await is_executing(running)
        await running.ask("POST", "/interrupt")
        assert await status(socket) == 0


async def test_numbers_decide_the_order(start: Start) -> None:
    running = await (await start()).ready()
    async with running.client.ws_connect(running.url("/ws")) as socket:
        await submit_sleepers(running, "runs")
        assert [await status(socket) for _ in range(3)] == [0, 1, 1]
    await submit_sleepers(running, "second", "third")
    await submit_sleepers(running, "first", number=0.5)
    await submit_sleepers(running, "front", front=True)

    assert await queue(running) == (["runs"], ["front", "first", "second", "third"])


async def test_a_queue_entry_is_a_list_of_five_values(start: Start) -> None:
    running = await (await start()).ready()
    graph = PREVIEW | {"9": sleep(60)["1"]}
    await submit_sleepers(running, "runs")

    await running.submit(
        graph, prompt_id="p", client_id="c", extra_data={"k": 1}, partial_execution_targets=["9"]
    )

    body = (await running.ask("GET", "/queue"))["body"]
    assert [1, "p", graph, {"k": 1, "client_id": "c"}, ["9"]] in body["queue_pending"]


async def test_an_interruption_of_another_prompt_does_nothing(start: Start) -> None:
    running = await (await start()).ready()
    await submit_sleepers(running, "a")
    await is_executing(running)

    await running.ask("POST", "/interrupt", json={"prompt_id": "b"})
    assert (await running.ask("GET", "/prompt"))["body"]["exec_info"]["queue_remaining"] == 1
    await running.ask("POST", "/interrupt", json={"prompt_id": "a"})

    await running.says("Processing interrupted")


async def test_a_failed_node_is_recorded_in_the_history(start: Start) -> None:
    running = await (await start()).ready()
    await running.submit(node("StandInFail", message="on purpose"), prompt_id="x")

    await running.says("!!! Exception during processing !!! on purpose")
    await running.says("Prompt executed in")

    entry = (await running.ask("GET", "/history/x"))["body"]["x"]
    assert entry["status"]["status_str"] == "error"
    kind, details = entry["status"]["messages"][-1]
    assert (kind, details["exception_message"]) == ("execution_error", "on purpose\n")


async def test_comfyui_answers_during_a_burning_node_but_not_during_a_blocking_one(
    start: Start,
) -> None:
    running = await (await start()).ready()
    await running.submit(node("StandInBurn", seconds=0.3))
    assert (await running.ask("GET", "/prompt"))["body"]["exec_info"]["queue_remaining"] == 1
    await running.says("Prompt executed in")

    for burn in (True, False):
        started = time.monotonic()
        await running.submit(node("StandInBlock", seconds=0.5, burn=burn))
        await running.says("Prompt executed in")
        await running.ask("GET", "/prompt")
        assert time.monotonic() - started >= 0.5


async def test_the_event_loop_can_be_blocked_once(start: Start) -> None:
    started = time.monotonic()
    running = await (await start(block_loop="0.5")).ready()

    await running.ask("GET", "/prompt")

    assert time.monotonic() - started >= 0.5


async def test_a_flood_of_output_is_complete_and_in_order(start: Start) -> None:
    running = await start(flood="3000::100", never_ready="1")

    for number in range(3000):
        async with bounded():
            line = await running.stdout.reader.readline()
        assert line.startswith(f"flood {number:09d} xx".encode())
        assert len(line) == 101
    assert await running.stdout.reader.readline() == b"flood done 3000\n"


async def test_bars_use_carriage_returns(start: Start) -> None:
    running = await (await start(progress="1")).ready()

    assert any(line.startswith("\r") and "100%|██████████| 10/10" in line for line in running.lines)


async def test_raw_bytes_are_written_unchanged(start: Start, tmp_path: Path) -> None:
    raw = bytes(range(256))
    (tmp_path / "raw").write_bytes(raw)
    running = await start(output=str(tmp_path / "raw"), never_ready="1")

    assert raw == await running.stdout.reader.readexactly(256)
