from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from comfysup.demo.workspace import build_environment
from tests.contracts.comfyui.running import Running

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return build_environment(tmp_path, "comm")


@pytest.fixture
async def start(environment: Path) -> AsyncIterator[Start]:
    """Start stand-ins of the environment, and end them after the test."""
    started: list[Running] = []
    async with aiohttp.ClientSession() as client:

        async def start_one(*arguments: str, **variables: str) -> Running:
            started.append(await Running.start(environment, client, *arguments, **variables))
            return started[-1]

        yield start_one
        for running in started:
            await running.close()
