"""Which instances are unresponsive: scenarios 37 and 38."""

import os
import signal
import time

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.client import Answer
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy, Graph, node, sleep, text
from tests.scenarios.rescue import known
from tests.scenarios.waiting import until_async

PERIOD, TIMEOUT, FAILURES = 0.1, 1.0, 3
THRESHOLD = FAILURES * (PERIOD + TIMEOUT)
"""Seconds until a process that does not answer is ended. A busy machine must not bring a process
that does nothing wrong near it."""


async def begin(daemon: Daemon, **env: str) -> tuple[Comfy, Answer]:
    build_environment(daemon.workspace, "comm")
    await daemon.start(
        probe_period=PERIOD, probe_timeout=TIMEOUT, probe_failures=FAILURES, stop_grace=0.2
    )
    port = daemon.ports.reserve()
    variables = {f"STANDIN_{name.upper()}": value for name, value in env.items()}
    answer = await daemon.api.start(0, port, env=variables)
    return Comfy(port), answer


def block(seconds: float, *, burn: bool) -> Graph:
    """A prompt that sleeps first, so that its start is reported."""
    node_2 = node("StandInBlock", seconds=seconds, burn=burn)["1"]
    return {**sleep(0.3), "2": node_2}


async def test_a_stopped_process_is_ended_after_exactly_the_threshold(daemon: Daemon) -> None:
    _, answer = await begin(daemon)
    pid = answer.body["instance"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()

    shown = await daemon.api.until(0, state="running", generation=2)

    assert time.monotonic() - stopped > THRESHOLD - 0.1
    assert shown["last_exit"]["reason"] == "unresponsive"
    assert shown["last_exit"]["message"] == "no response to 3 probes in a row"
    assert not shown["last_exit"]["expected"]
    assert shown["restarts"] == 1


async def test_a_stopped_process_with_a_prompt_is_ended_at_the_same_threshold(
    daemon: Daemon,
) -> None:
    """A prompt runs without using CPU."""
    comfy, answer = await begin(daemon)
    await comfy.submit(sleep(60), "runs")
    await known(daemon, 1, 0)
    os.kill(answer.body["instance"]["pid"], signal.SIGSTOP)

    shown = await daemon.api.until(0, state="running", generation=2)

    assert shown["last_exit"]["message"] == "no response to 3 probes in a row"
    await comfy.runs("runs")


async def test_one_slow_response_has_no_consequence(daemon: Daemon) -> None:
    _, answer = await begin(daemon)
    pid = answer.body["instance"]["pid"]

    async def failures() -> int:
        return int((await daemon.api.show(0))["health"]["failures"])

    async def answers() -> bool:
        return not await failures()

    os.kill(pid, signal.SIGSTOP)
    await until_async(failures)
    os.kill(pid, signal.SIGCONT)
    await until_async(answers)

    assert (await daemon.api.show(0))["generation"] == 1
    assert not daemon.events("instance.unresponsive")


@pytest.mark.parametrize("burn", [True, False])
async def test_a_loop_blocked_for_less_than_the_threshold_has_no_consequence(
    daemon: Daemon, *, burn: bool
) -> None:
    comfy, _ = await begin(daemon)
    await comfy.submit(block(1.5 * TIMEOUT, burn=burn), "blocks")

    assert (await comfy.has_run("blocks"))["status"]["completed"]
    assert (await daemon.api.show(0))["generation"] == 1


async def test_an_instance_that_uses_cpu_for_a_prompt_has_five_times_the_threshold(
    daemon: Daemon,
) -> None:
    comfy, _ = await begin(daemon)
    await comfy.submit(block(2.5 * THRESHOLD, burn=True), "blocks")

    assert (await comfy.has_run("blocks"))["status"]["completed"]
    assert (await daemon.api.show(0))["generation"] == 1


async def test_an_instance_that_holds_the_gil_before_its_prompt_is_seen_has_the_longer_threshold(
    daemon: Daemon,
) -> None:
    """Its prompt is unknown; its use of CPU is sufficient."""
    comfy, _ = await begin(daemon)
    await comfy.submit(node("StandInBlock", seconds=2.5 * THRESHOLD, burn=True), "blocks")

    assert (await comfy.has_run("blocks"))["status"]["completed"]
    assert (await daemon.api.show(0))["generation"] == 1


async def test_an_instance_whose_prompt_never_ends_is_ended(daemon: Daemon) -> None:
    comfy, _ = await begin(daemon)
    await comfy.submit(block(60, burn=True), "blocks")

    shown = await daemon.api.until(0, generation=2)

    assert shown["last_exit"]["message"] == "no response to 15 probes in a row"


async def test_an_instance_that_waits_in_a_prompt_is_ended_at_the_threshold(
    daemon: Daemon,
) -> None:
    """A deadlock: a prompt runs without using CPU."""
    comfy, _ = await begin(daemon)
    await comfy.submit(block(60, burn=False), "blocks")

    shown = await daemon.api.until(0, generation=2)

    assert shown["last_exit"]["message"] == "no response to 3 probes in a row"


@pytest.mark.parametrize("how", ["after", "loud"])
async def test_an_instance_with_a_dead_worker_is_restarted_and_receives_the_waiting_prompts(
    daemon: Daemon, how: str
) -> None:
    """It answers all the while, and takes prompts that nobody executes.

    The worker ends between two prompts, or in one, with a traceback in the log.
    """
    comfy, _ = await begin(daemon)
    await comfy.submit(node("StandInEndWorker", **{how: True}), "ends it")
    await comfy.submit(text("waits"), "waits")

    shown = await daemon.api.until(0, generation=2, state="running")

    assert shown["last_exit"]["reason"] == "worker_dead"
    assert not shown["last_exit"]["expected"]
    if how == "loud":  # it does the same once more, and is given up
        assert shown["last_exit"]["prompts"] == ["ends it"]
        await daemon.api.until(0, generation=3, state="running")
    assert (await comfy.has_run("waits"))["status"]["completed"]


async def test_a_gpu_error_that_fails_every_prompt_is_a_condition(daemon: Daemon) -> None:
    """It responds and executes prompts: only their failures show the error."""
    comfy, _ = await begin(daemon)
    message = "CUDA error: an illegal memory access was encountered"
    for number in range(3):
        await comfy.submit(node("StandInFail", message=message), f"p{number}")
    await comfy.has_run("p2")

    async def shown() -> bool:
        conditions = (await daemon.api.show(0))["conditions"]
        return [each["code"] for each in conditions] == ["gpu_fault"]

    await until_async(shown)
    assert message in (await daemon.api.show(0))["conditions"][0]["message"]


async def test_an_instance_that_blocks_without_a_prompt_is_ended_at_the_threshold(
    daemon: Daemon,
) -> None:
    await begin(daemon, block_loop="60@0.2")

    shown = await daemon.api.until(0, generation=2)

    assert shown["last_exit"]["message"] == "no response to 3 probes in a row"
