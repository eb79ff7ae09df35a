"""The examples of docs/reference/http.md, unchanged except for their ports."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import bounded

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text()


def example(daemon: Daemon, language: str, number: int = 0) -> str:
    code: str = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]
    return code.replace("8001", str(daemon.port)).replace("3001", str(daemon.ports.reserve()))


async def run(*command: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with bounded():
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


@pytest.mark.parametrize(("language", "program"), [("python", sys.executable), ("javascript", "")])
async def test_an_example_starts_shows_and_stops(
    daemon: Daemon, language: str, program: str
) -> None:
    option = "-c" if program else "-e"
    node = str(Path(sys.executable).parent / "node")

    lines = await run(program or node, option, example(daemon, language))

    assert lines[0].strip() == "main started"
    assert lines[1].startswith("running http://127.0.0.1:")
    assert lines[2] == "stopped"


async def test_the_example_that_follows_events_names_them(daemon: Daemon) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="main")
    # From the beginning, so that it does not matter when it is there.
    code = example(daemon, "python", 1).replace("/events", "/events?last_event_id=0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode().split() for _ in range(3)]
    finally:
        process.kill()
        await process.wait()

    assert lines[1:] == [["instance.starting", "main"], ["instance.ready", "main"]]
