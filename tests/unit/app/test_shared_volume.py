"""Two daemons with the same directory."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from comfysup.app import shared_volume as sharing
from comfysup.app.shared_volume import Sharing
from comfysup.linux.executor import Executor
from comfysup.linux.rundir.claims import ClaimedError, claim
from tests.scenarios.waiting import until


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    one = Executor("logs")
    yield one
    one.shutdown()


async def test_a_slow_directory_is_reported_with_a_remedy(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def slow_claim(_lock_file: Path, _owner: str, *, make: bool) -> int | None:
        assert make
        answers.wait()
        raise ClaimedError("comfysup on other:8001 with pid 7")

    told: list[str | None] = []
    monkeypatch.setattr(sharing, "PATIENCE", 0.01)
    monkeypatch.setattr(sharing, "claim", slow_claim)
    async with AsyncExitStack() as resources:
        one = Sharing(8001, executor, resources, lambda _file, sentence: told.append(sentence))
        assert not await one.logs_are_anothers(tmp_path, "unused")
        answers.set()
        await until(lambda: told)

    assert told == [
        (
            f"comfysup on other:8001 with pid 7 has {tmp_path}: this daemon uses it too, since the "
            "directory answered too late; `comfysup daemon restart` asks again"
        )
    ]


def test_a_lock_that_cannot_be_read_is_not_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    lock = claim(tmp_path / "lock", "the first", make=True)
    assert lock is not None
    opened: list[int] = []
    closed: list[int] = []
    open_, close = os.open, os.close

    def note_open(*arguments: object) -> int:
        opened.append(open_(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    def note_close(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "pread", fail)
    monkeypatch.setattr(os, "open", note_open)
    monkeypatch.setattr(os, "close", note_close)
    with pytest.raises(ClaimedError, match="another comfysup"):
        claim(tmp_path / "lock", "the second", make=True)
    monkeypatch.undo()
    close(lock)

    assert opened == closed
