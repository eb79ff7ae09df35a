"""Prompts of a ComfyUI that runs longer than its daemon: scenario 40."""

import os
import signal

from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, node, sleep, text
from tests.scenarios.rescue import crash, dies, known, marked, written
from tests.scenarios.waiting import until


async def test_a_prompt_that_finished_while_no_daemon_ran_is_not_resubmitted(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The instance reports nothing to the next daemon before it dies; its output does."""
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


async def test_an_api_key_is_kept_in_memory_and_never_written_to_disk(
    daemon: Daemon, comfy: Comfy
) -> None:
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
    """Both die; the next daemon resubmits the known prompts except those with a key."""
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


async def test_a_removed_instance_leaves_no_backlog(daemon: Daemon, comfy: Comfy) -> None:
    await comfy.submit(sleep(60), "r")
    await known(daemon, 1, 0)

    await daemon.api.ask("DELETE", f"{API}/instances/0")

    assert [line["reason"] for line in daemon.events("prompt.given_up")] == ["removed"]
    await until(lambda: not list((daemon.run_dir / "queue").iterdir()))


async def test_a_shutdown_gives_up_the_prompts_and_reports_them(
    daemon: Daemon, comfy: Comfy
) -> None:
    """The next daemon starts with an empty table."""
    await comfy.submit(sleep(60), "r")
    await comfy.runs("r")
    await comfy.submit(sleep(60), "w")
    await known(daemon, 1, 1)

    daemon.signal(signal.SIGTERM)
    assert await daemon.ended() == 0

    said = daemon.events("prompt.given_up")
    assert [(each["prompt"], each["reason"]) for each in said] == [("r", "ended"), ("w", "ended")]
    assert not list((daemon.run_dir / "queue").iterdir())
