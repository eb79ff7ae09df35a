from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfysup.logs.files import Rotation
from tests.unit.api.logged import Desk, desk_of


@pytest.fixture
def rotation() -> Rotation:
    return Rotation()


@pytest.fixture
async def desk(tmp_path: Path, rotation: Rotation) -> AsyncIterator[Desk]:
    async with desk_of(tmp_path, rotation) as one_desk:
        yield one_desk
