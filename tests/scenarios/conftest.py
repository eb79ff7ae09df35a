from collections.abc import AsyncIterator

import pytest

from tests.scenarios.harness import Daemon


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """A daemon that the test starts; its end is checked."""
    one = Daemon()
    yield one
    await one.close()
