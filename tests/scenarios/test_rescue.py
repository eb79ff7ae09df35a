"""Prompts whose ComfyUI exits: scenario 40."""

from contextlib import suppress
from functools import partial

import aiohttp
import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, node, sleep, text, wait_for
from tests.scenarios.rescue import crash, known, poison, written
from tests.scenarios.waiting import until


async def test_the_running_and_the_waiting_prompts_are_resubmitted(
    daemon: Daemon, comfy: Comfy
) -> None:
    """With the same ids, order, client, extra data and targets; a front prompt first."""
    graph = {**sleep(60), "2": node("SaveText", text="t", filename_prefix="t")["1"]}
    await comfy.submit(sleep(60), "runs", client_id="me")
    await comfy.runs("runs")
    extra = {"extra_pnginfo": {"workflow": {"nodes": ["ü"]}}, "mine": 1}
    await comfy.submit(graph, "second", extra_data=extra, client_id="you")
    await comfy.submit(graph, "third", partial_execution_targets=["2"])
    await comfy.submit(sleep(60), "first", front=True)
    await known(daemon, 1, 3)
    before = [entry[1:] for entries in await comfy.entries() for entry in entries]

    await crash(daemon)

    await comfy.runs("runs")
    after = [entry[1:] for entries in await comfy.entries() for entry in entries]
    assert [entry[0] for entry in after] == ["runs", "first", "second", "third"]
    for old, new in zip(before, after, strict=True):
        assert (old[:3], sorted(old[3])) == (new[:3], sorted(new[3]))
    await known(daemon, 1, 3)
    shown = await daemon.api.show(0)
    assert shown["queue"]["running_prompts"][0]["id"] == "runs"


async def test_a_prompt_that_crashes_comfyui_twice_is_given_up_and_the_others_run(
    daemon: Daemon, comfy: Comfy
) -> None:
    go_on = daemon.workspace / "go on"
    await comfy.submit(wait_for(go_on), "before")
    await comfy.runs("before")
    await comfy.submit(poison("SIGSEGV", 0.3), "poison")
    for name in ("one", "two"):
        await comfy.submit(text(name), name)
    await known(daemon, 1, 3)
    go_on.touch()

    await until(lambda: written(daemon, "two"))

    assert [line["reason"] for line in daemon.events("prompt.given_up", prompt="poison")] == [
        "crashed_twice"
    ]
    assert (written(daemon, "one"), written(daemon, "two")) == (1, 1)
    shown = await daemon.api.until(0, restarts=2, state="running")
    assert shown["last_exit"]["prompts"] == ["poison"]


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_a_prompt_that_crashes_at_once_cannot_loop(
    daemon: Daemon, comfy: Comfy, seconds: float
) -> None:
    """Before the queue can be read."""
    go_on = daemon.workspace / "go on"
    await comfy.submit(wait_for(go_on), "before")
    await comfy.runs("before")
    await comfy.submit(poison("SIGKILL", seconds), "poison")
    await comfy.submit(text("after"), "after")
    await known(daemon, 1, 2)
    go_on.touch()

    await until(lambda: written(daemon, "after"))

    assert daemon.events("prompt.given_up", prompt="poison")
    assert not daemon.events("prompt.given_up", prompt="after")
    assert written(daemon, "after") == 1


def reported(daemon: Daemon, count: int) -> bool:
    """Return whether that many prompts were given up."""
    return len(daemon.events("prompt.given_up")) >= count


async def test_a_prompt_that_crashes_an_idle_instance_at_once_is_reported(
    daemon: Daemon, comfy: Comfy
) -> None:
    """It was never read in the queue; the output shows that it was accepted."""
    for number in range(3):
        await known(daemon, 0, 0)
        with suppress(aiohttp.ClientError):  # it may exit before it has answered
            await comfy.submit(poison("SIGKILL", 0), f"poison{number}")
        await until(partial(reported, daemon, number + 1))
        await daemon.api.until(0, state="running")

    shown = await daemon.api.show(0)
    assert shown["consecutive_failures"] == 0
    assert {line["reason"] for line in daemon.events("prompt.given_up")} <= {
        "unseen",
        "crashed_twice",
    }


async def test_only_the_crashing_prompts_are_given_up(daemon: Daemon) -> None:
    """Each ends the process as soon as it is submitted; more of them than `max_failures` allows.

    The innocent ones before each finish in every process.
    """
    build_environment(daemon.workspace, "comm")
    await daemon.start(max_failures=2)
    port = daemon.ports.reserve()
    comfy = Comfy(port)
    await daemon.api.start(0, port)
    go_on = daemon.workspace / "go on"
    await comfy.submit(wait_for(go_on), "first")
    await comfy.runs("first")
    for number in range(3):
        await comfy.submit(text(f"innocent{number}"), f"innocent{number}")
        await comfy.submit(poison("SIGKILL", 0), f"poison{number}")
    await comfy.submit(text("last"), "last")
    await known(daemon, 1, 7)
    go_on.touch()

    await until(lambda: written(daemon, "last"))

    given_up = daemon.events("prompt.given_up")
    assert sorted(line["prompt"] for line in given_up) == ["poison0", "poison1", "poison2"]
    assert all(written(daemon, f"innocent{number}") for number in range(3))
    shown = await daemon.api.until(0, state="running")
    assert shown["consecutive_failures"] == 0
    assert not daemon.events("instance.failed")


@pytest.mark.parametrize(
    ("rescue", "runs", "waits"), [("all", ["r"], ["w"]), ("waiting", ["w"], []), ("none", [], [])]
)
async def test_the_rescue_policy_selects_the_prompts(
    daemon: Daemon, rescue: str, runs: list[str], waits: list[str]
) -> None:
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    port = daemon.ports.reserve()
    comfy = Comfy(port)
    await daemon.api.start(0, port, rescue=rescue)
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)

    await crash(daemon)

    await known(daemon, len(runs), len(waits))
    assert await comfy.queue() == (runs, waits)
    given_up = {line["prompt"] for line in daemon.events("prompt.given_up")}
    assert given_up == {"r", "w"} - {*runs, *waits}


@pytest.mark.parametrize("verb", ["stop", "restart", "start"])
@pytest.mark.parametrize(
    ("rescue", "runs", "waits"), [("all", ["r"], ["w"]), ("waiting", ["w"], []), ("none", [], [])]
)
async def test_a_caller_selects_the_prompts(
    daemon: Daemon, comfy: Comfy, verb: str, rescue: str, runs: list[str], waits: list[str]
) -> None:
    """With the stop or restart that ends the process, or with the following start."""
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)

    if verb == "start":
        await daemon.api.act(0, "stop")
    assert (await daemon.api.act(0, verb, rescue=rescue)).status == 200
    if verb == "stop":
        await daemon.api.act(0, "start")

    await known(daemon, len(runs), len(waits))
    assert await comfy.queue() == (runs, waits)
    given_up = daemon.events("prompt.given_up")
    assert {line["prompt"] for line in given_up} == {"r", "w"} - {*runs, *waits}
    assert {line["reason"] for line in given_up} <= {"unwanted"}


async def test_a_restart_submits_prompts_before_it_responds(daemon: Daemon, comfy: Comfy) -> None:
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)
    for _ in range(3):
        assert (await daemon.api.act(0, "restart")).status == 200

        running, waiting = await comfy.queue()
        assert [*running, *waiting] == ["r", "w"]
        await comfy.runs("r")
        await known(daemon, 1, 1)
    assert not daemon.events("prompt.given_up")


async def test_a_reboot_asked_for_by_the_manager_keeps_the_queue(
    daemon: Daemon, comfy: Comfy
) -> None:
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(node("StandInCrash", ending="reboot"), "w")
    await comfy.submit(text("last"), "last")
    await known(daemon, 1, 2)
    with suppress(aiohttp.ClientError):
        await comfy.get("/manager/reboot")

    await daemon.api.until(0, state="running", generation=2)

    await comfy.runs("r")
    assert (await comfy.queue())[1] == ["w", "last"]
