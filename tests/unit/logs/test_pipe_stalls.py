"""Disks and log files that do not accept output."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from tests.scenarios.waiting import bounded, until
from tests.unit.logs.piping import (
    EXPECTED,
    FIRST,
    HEADING,
    ONE_MILLION_BYTES,
    MakePipe,
    content,
    write,
)


async def test_a_log_that_cannot_be_opened_blocks_no_instance(
    make: MakePipe, file: Path, tmp_path: Path
) -> None:
    file.parent.symlink_to(tmp_path / "no" / "volume")

    with capture_logs() as logged:
        pipe = make()
        await write(pipe, ONE_MILLION_BYTES)
        await pipe.close()

    assert pipe.dropped_bytes == len(EXPECTED)
    assert [each["event"] for each in logged] == ["log.refused"]


async def test_a_volume_that_blocks_the_pump_is_reported(
    pump: LogPump, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executing another program would wait for the thread of the pump."""
    answers = threading.Event()
    monkeypatch.setattr("comfysup.logs.pump.STALLED_AFTER", -1.0)
    monkeypatch.setattr("comfysup.logs.pump.is_unkillable", lambda _thread: True)
    assert list(pump.unkillable()) == []
    writing = pump.ask(answers.wait, tmp_path / "0.pid")
    await until(pump.stalled)

    assert list(pump.unkillable()) == [f"the log directory {tmp_path}"]
    answers.set()
    assert await writing
    assert list(pump.unkillable()) == []


async def test_a_stalled_disk_delays_neither_the_loop_nor_a_close(
    make: MakePipe, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to an unresponsive volume does not return; drain and close do."""
    awake = threading.Event()
    splice = os.splice

    def stall(*arguments: int, **flags: int) -> int:
        awake.wait()
        return splice(*arguments, **flags)

    monkeypatch.setattr(os, "splice", stall)
    monkeypatch.setattr("comfysup.logs.pipe.PATIENCE", 0.05)
    pipe = make()
    end = pipe.open_for_instance(HEADING)

    async with bounded():  # the disk stalls for longer
        await pipe.drain()
        await pipe.close()

    size = file.stat().st_size  # noqa: ASYNC240
    os.close(end)
    awake.set()
    await (pipe := make()).drain()
    await pipe.close()

    assert (size, content(file)) == (0, FIRST)


@contextmanager
def busy(pipe: LogPipe) -> Iterator[None]:
    """Write to a pipe continuously."""
    end, over = pipe.open_for_instance(HEADING), threading.Event()

    def write_on() -> None:
        while not over.is_set():
            os.write(end, b"x" * 1000)

    writer = threading.Thread(target=write_on)
    writer.start()
    yield
    over.set()
    writer.join()
    os.close(end)


async def test_a_writable_log_recovers_while_another_pipe_is_busy(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.logs.pump.AGAIN", 0.01)
    told: list[str | None] = []
    pump = LogPump(Rotation(), lambda log, sentence: told.append(sentence) if log == file else None)
    pump.start()
    os.makedirs(file)  # noqa: PTH103 - a directory, which cannot be written to
    ill = LogPipe.create(tmp_path / "ill", file, pump)
    os.close(ill.open_for_instance(HEADING))
    await until(lambda: told)
    other = LogPipe.create(tmp_path / "busy", tmp_path / "busy.log", pump)
    with busy(other):
        os.rmdir(file)  # noqa: PTH106 - likewise
        await until(lambda: told[-1] is None)
    assert [told[0] is None, told[-1] is None] == [False, True]
    await ill.close()
    await other.close()
    await pump.close()


async def test_a_pump_stalled_at_its_close_ends_when_its_volume_responds(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.logs.pump.CLOSE_PATIENCE", 0.01)
    threads = threading.active_count()
    pump = LogPump(Rotation())
    pump.start()
    answers = threading.Event()
    pipe = LogPipe.create(tmp_path / "fifo", file, pump)
    hanging = pump.ask(answers.wait)
    await pump.close()
    with pytest.raises(OSError, match="closed"):
        _ = pump.ask(lambda: None)
    answers.set()

    assert await hanging
    await until(lambda: threading.active_count() == threads)
    del pipe
