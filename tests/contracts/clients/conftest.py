"""A daemon with the environment of both examples."""

from collections.abc import AsyncIterator

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon


@pytest.fixture
async def served() -> AsyncIterator[Daemon]:
    daemon = Daemon()
    build_environment(daemon.workspace, "comm")
    try:
        yield await daemon.start()
    finally:
        await daemon.close()
