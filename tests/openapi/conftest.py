import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon


@pytest.fixture(scope="session")
def tools() -> Path:
    """Return the directory of the tools' commands."""
    return Path(os.environ["OPENAPI_TOOLS"]).absolute()


@pytest.fixture
async def served() -> AsyncIterator[Daemon]:
    """A daemon with one environment."""
    daemon = Daemon()
    build_environment(daemon.workspace, "comm")
    try:
        yield await daemon.start(backoff_initial=0.05, max_failures=2)
    finally:
        await daemon.close()
