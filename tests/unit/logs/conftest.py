import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from comfysup.linux.executor import Executor
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from tests.unit.logs.desk import Desk
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
    """Set the maximum file size of this process, which simulates a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture
def rotation() -> Rotation:
    return Rotation()


@pytest.fixture
async def desk(tmp_path: Path, rotation: Rotation) -> AsyncIterator[Desk]:
    pump = LogPump(rotation)
    pump.start()
    disk = Executor("logs", 4)
    reader = LogReader(pump, disk)
    yield Desk(tmp_path / "logs" / "x.log", tmp_path / "fifo", pump, reader)
    reader.close()
    disk.shutdown()
    await pump.close()
