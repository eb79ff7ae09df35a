from collections.abc import AsyncIterator

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon
from tests.scenarios.prompts import Comfy


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """A daemon that the test starts; its shutdown is checked."""
    one = Daemon()
    yield one
    await one.close()


@pytest.fixture
async def comfy(daemon: Daemon) -> Comfy:
    """Instance 0, a running stand-in."""
    build_environment(daemon.workspace, "comm")
    await daemon.start()
    port = daemon.ports.reserve()
    assert (await daemon.api.start(0, port)).status == 200
    return Comfy(port)
