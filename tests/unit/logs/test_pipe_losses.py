"""Which bytes a pipe reports as dropped."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.linux.rundir.state_file import StateFile
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.unreported_losses import UnreportedLosses
from tests.unit.logs.piping import FIRST, ONE_MILLION_BYTES, MakePipe, content, write


async def test_bytes_that_a_full_disk_refuses_are_dropped_and_reported_later(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    pipe = make()
    await write(pipe, "print('first')")
    await pipe.close()
    file_limit(file.stat().st_size)  # noqa: ASYNC240

    pipe = make()
    with capture_logs() as logged:
        await write(pipe, "print('x' * 200_000)")
        await pipe.drain()
        dropped = pipe.dropped_bytes
        file_limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        await pipe.close()
        pipe = make()
        await write(pipe, "print('last')")
        await pipe.close()

    assert [each["event"] for each in logged] == ["log.refused", "log.resumed"]
    assert dropped == pipe.dropped_bytes == 200_001 + len(FIRST)
    note = b"[comfysup: %d bytes of log were dropped here]\n" % dropped
    assert content(file) == FIRST + b"first\n" + note + FIRST + b"last\n"


async def test_the_next_daemon_reports_an_unreported_loss(tmp_path: Path, file: Path) -> None:
    async def write_once(text: str) -> None:
        """Write under a separate daemon."""
        losses = UnreportedLosses(StateFile(tmp_path / "losses.json"))
        pump = LogPump(Rotation(), losses=losses)
        pump.start()
        pipe = LogPipe.create(tmp_path / "fifo", file, pump)
        await write(pipe, f"print({text!r})")
        await pipe.close()
        await pump.close()

    await write_once("first")
    aside = file.parent.rename(tmp_path / "aside")
    file.parent.symlink_to(tmp_path / "no" / "volume")
    with capture_logs():
        await write_once("dropped")
    file.parent.unlink()
    aside.rename(file.parent)
    await write_once("second")
    await write_once("last")

    note = b"[comfysup: an unknown number of bytes of log were dropped here]\n"
    lines = (b"first\n" + note, b"second\n", b"last\n")
    assert content(file) == b"".join(FIRST + each for each in lines)
    assert not (tmp_path / "losses.json").exists()


@pytest.mark.parametrize("damaged", [b"", b"\0\0", b"{}", b"[1, null]", b'"a"'])
def test_damaged_records_of_losses_are_ignored(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "losses.json").write_bytes(damaged)

    losses = UnreportedLosses(StateFile(tmp_path / "losses.json"))
    losses.note(tmp_path / "log")

    assert tmp_path / "log" in losses
    assert tmp_path / "log" in UnreportedLosses(StateFile(tmp_path / "losses.json"))


async def test_a_loss_note_that_does_not_fit_is_not_written_partially(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    pipe = make()
    await write(pipe, "print('first')")
    await pipe.drain()
    size = file.stat().st_size  # noqa: ASYNC240

    with capture_logs():
        for room in (0, 10):
            file_limit(size + room)
            pipe = make()
            await write(pipe, "print('x' * 1000)")
            await pipe.drain()
    file_limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    left = content(file)
    await pipe.close()

    assert left == FIRST + b"first\n"


async def test_the_written_part_of_a_write_is_not_counted_as_dropped(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    pipe = make()
    file_limit(100_000)

    with capture_logs():
        await write(pipe, f"print('x' * {299_999 - len(FIRST)})")
        await pipe.close()

    assert (file.stat().st_size, pipe.dropped_bytes) == (100_000, 200_000)  # noqa: ASYNC240


async def test_an_internal_error_of_the_pump_affects_the_log_and_not_the_instance(
    make: MakePipe, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **_flags: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(os, "splice", break_down)
    pipe = make()

    with capture_logs() as logged:
        await write(pipe, ONE_MILLION_BYTES)
        await pipe.close()

    assert [each["event"] for each in logged] == ["log_pump.broke"]
