import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from tests.unit.logs.piping import MakePipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "instance.log"


@pytest.fixture
async def pump() -> AsyncIterator[LogPump]:
    started = LogPump(Rotation())
    started.start()
    yield started
    await started.close()


@pytest.fixture
def make(tmp_path: Path, file: Path, pump: LogPump) -> MakePipe:
    return lambda: LogPipe.create(tmp_path / "fifo", file, pump)


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Sets the size that no file of this process may pass: what a full disk looks like."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
