"""Prompts, and the ends of the processes that run them."""

import os
import re
import signal

from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Graph, node, sleep
from tests.scenarios.waiting import until, until_async


async def known(daemon: Daemon, running: int, pending: int) -> None:
    """Wait until the daemon knows this number of running and pending prompts."""

    async def is_so() -> bool:
        queue = (await daemon.api.show(0))["queue"] or {}
        return (queue.get("running"), queue.get("pending")) == (running, pending)

    await until_async(is_so)


async def marked(daemon: Daemon) -> None:
    """Wait until the mark of the output of the running prompt is stored."""
    file = daemon.run_dir / "queue" / "0.json"
    await until(lambda: file.exists() and re.search(rb'"mark":"[^"]', file.read_bytes()))


def written(daemon: Daemon, name: str) -> int:
    """Return how often the prompt that writes a file of that name has run."""
    output = daemon.workspace / "ComfyUI-comm" / "output"
    return len(list(output.glob(f"{name}_*")))


def poison(ending: str, seconds: float) -> Graph:
    """A prompt that ends its process; its second node prevents the start of another prompt."""
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
    """Kill the process, and wait until the next one is ready."""
    shown = await daemon.api.show(0)
    os.kill(shown["pid"], signal.SIGKILL)
    await daemon.api.until(0, state="running", generation=shown["generation"] + 1)
