"""Prompts, and the ends of the processes that run them."""

import os
import re
import signal

from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Graph, node, sleep
from tests.scenarios.waiting import until, until_async


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
