"""Stops and restarts that let the running prompt finish: scenario 39."""

import asyncio

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, sleep, text, wait_for
from tests.scenarios.rescue import dies, known, written
from tests.scenarios.waiting import until, until_async


async def begin(daemon: Daemon, number: int = 0) -> Comfy:
    if not (daemon.workspace / "ComfyUI-comm").exists():
        build_environment(daemon.workspace, "comm")
        await daemon.start()
    port = daemon.ports.reserve()
    assert (await daemon.api.start(number, port)).status == 200
    return Comfy(port)


async def emptied(comfy: Comfy) -> None:
    """Wait until no prompt waits."""

    async def is_so() -> bool:
        return not (await comfy.queue())[1]

    await until_async(is_so)


async def test_a_draining_restart_finishes_the_running_prompt_and_resubmits_the_rest(
    daemon: Daemon,
) -> None:
    comfy = await begin(daemon)
    go_on = daemon.workspace / "go on"
    await comfy.submit({**wait_for(go_on), "2": text("ran")["1"]}, "runs")
    await comfy.runs("runs")
    for prompt_id in ("b", "a"):
        await comfy.submit(sleep(60), prompt_id, client_id="me")
    await known(daemon, 1, 2)

    restarting = asyncio.create_task(daemon.api.act(0, "restart", drain=300))
    await daemon.api.until(0, state="draining")
    await emptied(comfy)
    await comfy.submit(sleep(60), "late", client_id="you")
    await emptied(comfy)
    go_on.touch()
    answer = await restarting

    assert (answer.status, answer.body["state"], answer.body["generation"]) == (200, "running", 2)
    assert answer.body["last_exit"]["expected"]
    assert written(daemon, "ran") == 1
    running, waiting = await comfy.entries()
    entries = [*running, *waiting]
    assert [(entry[1], entry[3]["client_id"]) for entry in entries] == [
        ("b", "me"),
        ("a", "me"),
        ("late", "you"),
    ]
    assert not daemon.events("prompt.given_up")


async def test_the_next_start_after_a_drained_stop_submits_the_rest(daemon: Daemon) -> None:
    comfy = await begin(daemon)
    go_on = daemon.workspace / "go on"
    await comfy.submit({**wait_for(go_on), "2": text("ran")["1"]}, "runs")
    await comfy.runs("runs")
    await comfy.submit(sleep(60), "waits")
    await known(daemon, 1, 1)

    stopping = asyncio.create_task(daemon.api.act(0, "stop", drain=300))
    await emptied(comfy)
    go_on.touch()
    stopped = await stopping
    assert (stopped.body["state"], written(daemon, "ran")) == ("stopped", 1)
    await daemon.api.act(0, "start")

    await comfy.runs("waits")


async def test_a_prompt_that_exceeds_the_drain_is_ended_and_resubmitted(daemon: Daemon) -> None:
    comfy = await begin(daemon)
    await comfy.submit(sleep(60), "runs")
    await comfy.runs("runs")
    await comfy.submit(sleep(60), "waits")
    await known(daemon, 1, 1)

    await daemon.api.act(0, "restart", drain=0.5)

    await comfy.runs("runs")
    assert (await comfy.queue())[1] == ["waits"]


async def test_an_idle_instance_is_drained_immediately(daemon: Daemon) -> None:
    await begin(daemon)

    answer = await daemon.api.act(0, "stop", drain=3600)

    assert answer.body["state"] == "stopped"


async def test_a_stop_does_not_wait_for_a_drain(daemon: Daemon) -> None:
    comfy = await begin(daemon)
    await comfy.submit(sleep(60), "runs")
    await comfy.runs("runs")
    draining = asyncio.create_task(daemon.api.act(0, "restart", drain=3600))
    await daemon.api.until(0, state="draining")

    assert (await daemon.api.act(0, "stop")).body["state"] == "stopped"

    assert (await draining).status == 500


async def test_the_next_daemon_continues_a_drain(daemon: Daemon) -> None:
    """Scenario 26, while draining."""
    comfy = await begin(daemon)
    go_on = daemon.workspace / "go on"
    await comfy.submit({**wait_for(go_on), "2": text("ran")["1"]}, "runs")
    await comfy.runs("runs")
    await comfy.submit(sleep(60), "waits")
    await known(daemon, 1, 1)
    status = (await daemon.api.act(0, "restart", drain=300, timeout=0)).status
    await daemon.api.until(0, state="draining")
    file = daemon.run_dir / "queue" / "0.json"
    await emptied(comfy)

    await dies(daemon)
    assert file.exists()
    await daemon.start()
    go_on.touch()

    await daemon.api.until(0, state="running", generation=2)
    await comfy.runs("waits")
    assert status == 202
    assert written(daemon, "ran") == 1


async def test_instances_are_restarted_one_at_a_time(daemon: Daemon) -> None:
    comfies = [await begin(daemon, number) for number in range(3)]
    for number, comfy in enumerate(comfies):
        await comfy.submit({**sleep(0.3), "2": text(f"ran{number}")["1"]}, "runs")

    answer = await daemon.api.ask("POST", f"{API}/environments/comm/restart", drain=30)

    assert [each["id"] for each in answer.body["restarted"]] == [0, 1, 2]
    assert [written(daemon, f"ran{number}") for number in range(3)] == [1, 1, 1]
    lives = [line["instance"] for line in daemon.events("instance.ready", generation=2)]
    ends = [line["instance"] for line in daemon.events("instance.exited", generation=1)]
    assert (lives, ends) == ([0, 1, 2], [0, 1, 2])
    order = [
        (line["event"], line["instance"])
        for line in daemon.log()
        if line["event"] in ("instance.draining", "instance.ready") and line.get("generation") != 1
    ]
    assert order == [("instance.ready", number) for number in range(3)]


async def test_a_rolling_restart_stops_at_the_first_failed_instance(
    daemon: Daemon,
) -> None:
    await begin(daemon, 0)
    await begin(daemon, 1)
    main = daemon.workspace / "ComfyUI-comm" / "main.py"
    working = main.read_text()
    main.write_text("raise SystemExit('broken')")

    answer = await daemon.api.ask("POST", f"{API}/environments/comm/restart")

    main.write_text(working)
    assert [each["id"] for each in answer.body["failed"]] == [0]
    assert [each["id"] for each in answer.body["left_alone"]] == [1]
    assert (await daemon.api.show(1))["generation"] == 1
    await until(lambda: daemon.events("instance.ready", instance=0))


@pytest.mark.parametrize("verb", ["stop", "restart"])
async def test_a_starting_instance_is_not_drained(daemon: Daemon, verb: str) -> None:
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    env = {"STANDIN_NEVER_READY": "1"}
    await daemon.api.start(0, daemon.ports.reserve(), env=env, wait={"wait": "spawn"})

    wait = {"wait": "spawn"} if verb == "restart" else {}
    answer = await daemon.api.act(0, verb, drain=3600, **wait)

    assert answer.status == 200
