"""The spec's Node example works as a client of port 8001, on the real express."""

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.scenarios.harness import Daemon

EXPRESS = "express@5.3.0"
NODE_PACKAGE = Path(__file__).parent


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with express in it, from the npm registry."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture
async def example(served: Daemon, modules: Path) -> AsyncIterator[str]:
    """The URL of the running example."""
    if not (modules / "node_modules" / "express").exists():
        await run(
            "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", EXPRESS, cwd=modules
        )
    script = shutil.copy(NODE_PACKAGE / "node_client.js", modules)
    server = await asyncio.create_subprocess_exec(
        "node",
        script,
        env=os.environ | {"COMFYSUP_URL": f"http://127.0.0.1:{served.port}"},
        stdout=PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, 9)  # what PyPI calls `node` is a parent of the real one
    await server.wait()


async def run(*command: str, cwd: Path) -> None:
    # npm would leave its compiled scripts in the directory for temporary files.
    env = os.environ | {"NODE_DISABLE_COMPILE_CACHE": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    assert 0 == process.returncode, (output + errors).decode()


async def test_the_example_starts_instances(served: Daemon, example: str) -> None:
    ports = [served.ports.reserve(), served.ports.reserve()]
    instances = [{"id": n, "port": port, "name": f"node-{n}"} for n, port in enumerate(ports)]

    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{example}/api/comfyui/start-instances", json={"instances": instances}
        ) as got,
    ):
        answer = await got.json()

    assert ("success", "Instances started", 2) == (
        answer["status"],
        answer["message"],
        answer["instances_count"],
    )
    assert 2 == answer["output"].count('"status": "started"')


async def test_a_refused_body_starts_nothing(served: Daemon, example: str) -> None:
    instances = [{"id": "x", "port": 70000, "name": "a/b"}]

    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{example}/api/comfyui/start-instances", json={"instances": instances}
        ) as got,
    ):
        answer = await got.json()

    assert 500 == got.status
    assert "invalid_request" in answer["stderr"]
    assert {} == served.processes()
