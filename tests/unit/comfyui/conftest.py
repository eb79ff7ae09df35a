import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from comfysup.comfyui.client import new_session
from tests.unit.comfyui.layouts import Place
from tests.unit.comfyui.probing import Serve, ServerT
from tests.unit.comfyui.servers import (
    ComfyServer,
)

CLI_ARGS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--listen")
parser.add_argument("--port")
parser.add_argument("--base-directory")
parser.add_argument("--user-directory")
parser.add_argument("--temp-directory")
parser.add_argument("--database-url")
parser.add_argument("--lowvram", action="store_true")
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with one complete environment, `comm`, whose interpreter does nothing."""
    path = tmp_path / "workspace"
    make_environment(path, "comm")
    return path


def make_environment(workspace: Path, name: str) -> Path:
    path = workspace / f"ComfyUI-{name}"
    (path / "comfy").mkdir(parents=True)
    (path / "comfy" / "cli_args.py").write_text(CLI_ARGS)
    (path / "main.py").write_text("")
    (path / "comfyui_version.py").write_text('# generated\n__version__ = "0.3.64"\n')
    (path / "venv" / "bin").mkdir(parents=True)
    (path / "venv" / "bin" / "python").write_text("#!/bin/sh\n")
    (path / "venv" / "bin" / "python").chmod(0o755)
    (path / "venv" / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.7\n"
    )
    packages = path / "venv" / "lib" / "python3.11" / "site-packages"
    (packages / "torch-2.8.0+cu128.dist-info").mkdir(parents=True)
    (packages / "torchsde-0.2.6.dist-info").mkdir()
    (path / "custom_nodes").mkdir()
    (workspace / "shared-models").mkdir(exist_ok=True)
    (path / "models").symlink_to("../shared-models")
    return path


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as session:
        yield session


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[ComfyServer] = []

    async def start(server: ServerT, port: int = 0, tls: ssl.SSLContext | None = None) -> ServerT:
        servers.append(server)
        return await server.listen(port, tls)

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield Place(tmp_path / "workspace", elsewhere)
    shutil.rmtree(elsewhere)
