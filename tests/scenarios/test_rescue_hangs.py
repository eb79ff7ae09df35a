"""Prompts that keep their ComfyUI from answering."""

import os
import signal

from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, node, sleep, text
from tests.scenarios.rescue import known, marked, written
from tests.scenarios.waiting import until, until_async


async def test_a_queue_is_unknown_while_a_node_holds_the_gil(daemon: Daemon, comfy: Comfy) -> None:
    await known(daemon, 0, 0)
    await comfy.submit(
        {**sleep(0.2), "2": node("StandInBlock", seconds=30)["1"]}, "blocks", client_id="me"
    )
    await known(daemon, 1, 0)
    pid = (await daemon.api.show(0))["pid"]

    async def unknown() -> bool:
        return (await daemon.api.show(0))["queue"] is None

    await until_async(unknown)
    os.kill(pid, signal.SIGKILL)

    shown = await daemon.api.until(0, state="running", generation=2)
    assert shown["last_exit"]["prompts"] == ["blocks"]


async def test_a_hanging_prompt_is_given_up(daemon: Daemon, comfy: Comfy) -> None:
    """It exceeds two drains."""
    await comfy.submit(node("StandInStubborn", seconds=600), "hangs")
    await comfy.runs("hangs")
    for _ in range(2):
        await known(daemon, 1, 0)
        assert (await daemon.api.act(0, "restart", drain=0.3)).status == 200

    assert await comfy.queue() == ([], [])
    [given_up] = daemon.events("prompt.given_up")
    assert (given_up["prompt"], given_up["reason"]) == ("hangs", "crashed_twice")


async def test_a_hanging_prompt_is_dropped_although_its_start_was_not_reported(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The previous prompt had just finished: only the log shows it, and it is not run again."""
    finish = daemon.root / "finish"
    await comfy.submit({**text("before"), "2": node("StandInMute", after=str(finish))["1"]}, "b")
    await comfy.submit(node("StandInStubborn", seconds=600), "hangs")
    await comfy.submit(text("after"), "after")
    await known(daemon, 1, 2)
    await marked(daemon)

    finish.touch()
    await until(lambda: "Prompt executed" in daemon.instance_log(0))
    assert (await daemon.api.act(0, "restart", rescue="waiting")).status == 200

    await comfy.has_run("after")
    assert (written(daemon, "before"), written(daemon, "after")) == (1, 1)
    assert (await daemon.api.show(0))["last_exit"]["prompts"] == ["hangs"]
    given_up = daemon.events("prompt.given_up")
    assert [(line["prompt"], line["reason"]) for line in given_up] == [("hangs", "unwanted")]
