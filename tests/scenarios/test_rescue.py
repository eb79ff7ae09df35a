"""Prompts whose ComfyUI ends: scenario 40."""

import os
import re
import signal
from contextlib import suppress

import aiohttp
import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, Graph, node, sleep, text, wait_for
from tests.scenarios.waiting import until, until_async


@pytest.fixture
async def comfy(daemon: Daemon) -> Comfy:
    """Instance 0, a stand-in that runs."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    port = daemon.ports.reserve()
    assert (await daemon.api.start(0, port)).status == 200
    return Comfy(port)


async def known(daemon: Daemon, running: int, pending: int) -> None:
    """Waits until the daemon knows so much of the queue."""

    async def is_so() -> bool:
        queue = (await daemon.api.show(0))["queue"] or {}
        return (queue.get("running"), queue.get("pending")) == (running, pending)

    await until_async(is_so)


async def marked(daemon: Daemon) -> None:
    """Waits until it is written down where the output ended while the running prompt ran."""
    file = daemon.run_dir / "queue" / "0.json"
    await until(lambda: file.exists() and re.search(rb'"mark":"[^"]', file.read_bytes()))


def written(daemon: Daemon, name: str) -> int:
    """How often a prompt has run that writes a file of that name."""
    output = daemon.workspace / "ComfyUI-comm" / "output"
    return len(list(output.glob(f"{name}_*")))


def poison(ending: str, seconds: float) -> Graph:
    """Ends its process; the second node keeps it from taking another prompt while it dies."""
    return {
        **node("StandInCrash", ending=ending, seconds=seconds),
        "2": sleep(60)["1"],
    }


async def dies(daemon: Daemon) -> None:
    """Kills the daemon."""
    daemon.signal(signal.SIGKILL)
    await daemon.ended()
    await daemon.api.close()


async def crash(daemon: Daemon) -> None:
    """Kills the process, and waits until the next one is ready."""
    shown = await daemon.api.show(0)
    os.kill(shown["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="running", generation=shown["generation"] + 1)


async def test_the_running_and_the_waiting_prompts_are_resubmitted(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The same ids, order, client, extra data and targets; a front one before all that waited."""
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


async def test_a_poisonous_prompt_is_given_up_and_the_others_run(
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
    """Before anybody can look who runs."""
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


async def test_poisonous_prompts_cost_themselves_alone(daemon: Daemon) -> None:
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


async def test_a_queue_is_shown_as_not_known_while_a_node_holds_the_gil(
    daemon: Daemon, comfy: Comfy
) -> None:
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


@pytest.mark.parametrize(
    ("rescue", "runs", "waits"), [("all", ["r"], ["w"]), ("waiting", ["w"], []), ("none", [], [])]
)
async def test_the_policy_chooses(
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
async def test_a_caller_chooses(
    daemon: Daemon, comfy: Comfy, verb: str, rescue: str, runs: list[str], waits: list[str]
) -> None:
    """With the stop or restart that ends the process, or later, with the start after it."""
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


async def test_a_prompt_that_hangs_does_not_come_back_for_ever(
    daemon: Daemon, comfy: Comfy
) -> None:
    """It outlasts the time for a drain twice."""
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
    """The one before it had ended a moment earlier: only the log tells that, and it stays done."""
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


async def test_a_prompt_that_finished_while_no_daemon_ran_is_not_resubmitted(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The instance tells the next daemon nothing before it dies; its output does."""
    finish = daemon.root / "finish"
    await comfy.submit({**text("before"), "2": node("StandInMute", after=str(finish))["1"]}, "b")
    await comfy.submit({**text("begun"), "2": sleep(600)["1"]}, "runs")
    await known(daemon, 1, 1)
    await marked(daemon)
    file = daemon.run_dir / "queue" / "0.json"
    await until(lambda: b'"id":"runs"' in file.read_bytes())
    pid = (await daemon.api.show(0))["pid"]

    await dies(daemon)
    finish.touch()
    await until(lambda: written(daemon, "begun"))
    await daemon.start()
    os.kill(pid, signal.SIGKILL)
    await daemon.api.until(0, state="running", generation=2)

    await comfy.runs("runs")
    assert (written(daemon, "before"), written(daemon, "begun")) == (1, 2)


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


async def test_a_key_is_kept_off_the_disk_and_in_memory(daemon: Daemon, comfy: Comfy) -> None:
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w", extra_data={"api_key_comfy_org": "hush-hush"})
    await known(daemon, 1, 1)

    await crash(daemon)

    _, [entry] = await comfy.entries()
    assert entry[3]["api_key_comfy_org"] == "hush-hush"
    files = [path for path in daemon.run_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if "hush-hush" in path.read_text(errors="replace")]


async def test_prompts_outlive_the_daemon_and_the_instance(daemon: Daemon, comfy: Comfy) -> None:
    """Both die; the next daemon submits what the last one knew, but what held a key."""
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "key", extra_data={"auth_token_comfy_org": "hush"})
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 2)
    file = daemon.run_dir / "queue" / "0.json"
    await until(lambda: file.exists() and b'"id":"w"' in file.read_bytes())
    pid = (await daemon.api.show(0))["pid"]

    await dies(daemon)
    os.kill(pid, signal.SIGKILL)
    await daemon.start()

    await daemon.api.until(0, state="running", generation=2)
    await comfy.runs("r")
    assert (await comfy.queue())[1] == ["w"]
    [given_up] = daemon.events("prompt.given_up")
    assert (given_up["prompt"], given_up["reason"]) == ("key", "held_keys")


async def test_the_next_daemon_knows_the_queue_of_an_adopted_instance(
    daemon: Daemon, comfy: Comfy
) -> None:
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)
    since = (await daemon.api.show(0))["queue"]["running_prompts"]
    file = daemon.run_dir / "queue" / "0.json"
    await until(lambda: file.exists() and '"w"' in file.read_text())

    await dies(daemon)
    await comfy.submit(sleep(60), "unseen")
    await daemon.start()

    await known(daemon, 1, 2)
    assert (await daemon.api.show(0))["queue"]["running_prompts"] == since
    await crash(daemon)
    await comfy.runs("r")
    assert (await comfy.queue())[1] == ["w", "unseen"]


async def test_a_removed_instance_leaves_nothing(daemon: Daemon, comfy: Comfy) -> None:
    await comfy.submit(sleep(60), "r")
    await known(daemon, 1, 0)

    await daemon.api.ask("DELETE", f"{API}/instances/0")

    assert [line["reason"] for line in daemon.events("prompt.given_up")] == ["removed"]
    await until(lambda: not list((daemon.run_dir / "queue").iterdir()))


async def test_an_orderly_shutdown_gives_the_prompts_up_and_reports_them(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The next daemon begins with an empty table."""
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)

    daemon.signal(signal.SIGTERM)
    assert await daemon.ended() == 0

    said = daemon.events("prompt.given_up")
    assert [(each["prompt"], each["reason"]) for each in said] == [("r", "ended"), ("w", "ended")]
    assert not list((daemon.run_dir / "queue").iterdir())
