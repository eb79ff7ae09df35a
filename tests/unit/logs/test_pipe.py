"""Output from a process through its pipe to its log."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.logs.files import Rotation
from comfysup.logs.pipe import PIPE_BYTES, LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.writer import LogWriter
from tests.scenarios.waiting import HANG
from tests.unit.linux.children import open_descriptors
from tests.unit.logs.piping import (
    EXPECTED,
    FIRST,
    HEADING,
    ONE_MILLION_BYTES,
    MakePipe,
    content,
    write,
)


async def test_every_byte_arrives_once_and_in_order(make: MakePipe, file: Path) -> None:
    pipe = make()

    await write(pipe, ONE_MILLION_BYTES)
    await pipe.close()

    assert content(file) == EXPECTED


async def test_bytes_reach_the_log_unchanged(make: MakePipe, file: Path) -> None:
    pipe = make()
    script = r"import os; os.write(2, bytes(range(256)) + b'\r\x1b[31m no end of line')"

    await write(pipe, script)
    await pipe.close()

    assert content(file) == FIRST + bytes(range(256)) + b"\r\x1b[31m no end of line"


@pytest.mark.parametrize("before", [b"before\n", b"no end of line"])
async def test_a_generation_begins_on_a_line_of_its_own(
    make: MakePipe, file: Path, before: bytes
) -> None:
    file.parent.mkdir()
    file.write_bytes(before)  # noqa: ASYNC240
    pipe = make()

    await write(pipe, "print('from the instance')", heading="héllo")
    await pipe.close()

    assert content(file) == before.rstrip(b"\n") + "\nhéllo\nfrom the instance\n".encode()


async def test_an_adopted_pipe_continues_an_unfinished_line(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
    pipe = make()
    end = pipe.open_for_instance(HEADING)
    os.write(end, b"half a ")
    await pipe.drain()

    adopted = LogPipe.adopt(pipe.fifo, file, pump)
    os.write(end, b"line\n")
    os.close(end)
    await adopted.close()

    assert content(file) == FIRST + b"half a line\n"


async def test_a_file_system_that_cannot_splice_gets_copies(
    make: MakePipe, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **_flags: object) -> int:
        raise OSError(errno.EINVAL, "no splice here")

    monkeypatch.setattr(os, "splice", refuse)
    pipe = make()

    with capture_logs() as logged:
        await write(pipe, ONE_MILLION_BYTES)
        await pipe.close()

    assert content(file) == EXPECTED
    assert [each["event"] for each in logged] == ["log.copied"]


async def test_waiting_bytes_are_in_the_log_after_a_drain(make: MakePipe, file: Path) -> None:
    pipe = make()
    end = pipe.open_for_instance(HEADING)
    os.set_blocking(end, False)
    written = os.write(end, b"x" * PIPE_BYTES)

    await pipe.drain()

    assert len(FIRST) + written == file.stat().st_size  # noqa: ASYNC240
    os.close(end)
    await pipe.close()


async def test_a_drain_ends_although_a_process_keeps_writing(
    make: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that outlives its leader must not block its exit or other logs."""
    pipe = make()
    await pipe.drain()
    moved = []

    def move_what_never_ends(_writer: LogWriter, _pipe: int) -> int:
        moved.append(1 << 16)
        if sum(moved) > 10 * PIPE_BYTES:
            raise BlockingIOError
        return moved[-1]

    monkeypatch.setattr(LogWriter, "move", move_what_never_ends)
    await pipe.drain()

    assert sum(moved) == PIPE_BYTES
    monkeypatch.undo()
    await pipe.close()


async def test_a_writer_is_not_ended_by_the_end_of_the_reader(make: MakePipe) -> None:
    """Without its own reading end it would receive SIGPIPE when the daemon dies."""
    pipe = make()
    script = "import os, sys; os.write(1, b'a'); sys.stdin.read(); os.write(1, b'b')"
    end = pipe.open_for_instance(HEADING)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=end) as one:  # noqa: ASYNC220
        os.close(end)
        await pipe.close()
        one.communicate(timeout=HANG)

    assert one.returncode == 0


async def test_a_pipe_holds_a_megabyte(tmp_path: Path, file: Path) -> None:
    pump = LogPump(Rotation())  # not started
    pipe = LogPipe.create(tmp_path / "fifo", file, pump)
    end = pipe.open_for_instance("")
    os.set_blocking(end, False)

    written = os.write(end, b"x" * (2 * PIPE_BYTES))

    assert PIPE_BYTES - 4096 <= written < PIPE_BYTES
    os.close(end)
    pump.start()
    await pipe.close()
    await pump.close()


async def test_closed_pipes_leave_no_descriptor_no_thread_and_no_fifo(
    make: MakePipe, tmp_path: Path, pump: LogPump
) -> None:
    await make().close()
    await pump.ask(lambda: None)
    descriptors, threads = open_descriptors(), threading.active_count()

    for _ in range(100):
        pipe = make()
        os.close(pipe.open_for_instance(HEADING))
        await pipe.close()
    await pump.ask(lambda: None)  # nothing waited in the last one, so it was not waited for

    assert (descriptors, threads) == (open_descriptors(), threading.active_count())
    assert not (tmp_path / "fifo").exists()


async def test_a_closed_pump_leaves_no_descriptor_and_no_thread(tmp_path: Path, file: Path) -> None:
    descriptors, threads = open_descriptors(), threading.active_count()
    pump = LogPump(Rotation())
    pump.start()
    LogPipe.create(tmp_path / "fifo", file, pump)

    await pump.close()
    await pump.close()

    assert (descriptors, threads) == (open_descriptors(), threading.active_count())


async def test_an_ended_writer_causes_no_wakeups(
    make: MakePipe, pump: LogPump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO without writers is always readable; the thread must not spin on it."""
    pipe = make()
    await write(pipe, "print('x')")
    await pipe.drain()
    turns = 0
    turn = pump._turn

    def counted() -> None:
        nonlocal turns
        turns += 1
        turn()

    monkeypatch.setattr(pump, "_turn", counted)
    await pipe.drain()  # the turn that had begun
    before = turns

    for _ in range(50):
        await pipe.drain()  # wakes the thread for one turn

    assert turns - before <= 51
    await pipe.close()
