import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program

WriteInstances = Callable[..., None]


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """A running daemon with the environment `comm`; its shutdown is checked."""
    one = Daemon()
    try:
        Program(one.workspace)
        await one.start(backoff_initial=60, backoff_max=60)
        yield one
    finally:
        await one.close()


@pytest.fixture
async def shell(daemon: Daemon) -> AsyncIterator[Shell]:
    one = Shell(daemon)
    yield one
    await one.close()


@pytest.fixture
def write_instances(daemon: Daemon) -> WriteInstances:
    """Writes instances.json with these instances."""

    def write(*instances: dict[str, Any], **top: object) -> None:
        text = json.dumps({"instances": instances, **top})
        (daemon.root / "instances.json").write_text(text)

    return write
