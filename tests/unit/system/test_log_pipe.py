import asyncio
import errno
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.system.log_files import Rotation
from comfysup.system.log_pipe import MAYBE_MORE, PIPE_BYTES, LogPipe
from comfysup.system.log_pump import LogPump
from comfysup.system.log_writer import LogWriter
from tests.unit.system.children import open_descriptors

MakePipe = Callable[[], LogPipe]

HEADING = "=== begins"
FIRST = b"=== begins\n"


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


async def write(pipe: LogPipe, script: str, heading: str = HEADING) -> None:
    """Runs a Python script with the pipe as its stdout and stderr, and waits for its end."""
    end = pipe.open_for_instance(heading)
    try:
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", script), stdin=subprocess.DEVNULL, stdout=end, stderr=end
        )
    finally:
        os.close(end)
    assert await asyncio.wait_for(writer.wait(), 30) == 0


def content(file: Path) -> bytes:
    return file.read_bytes()


ONE_MILLION_BYTES = "import os; [os.write(1, b'%09d\\n' % n) for n in range(100_000)]"
EXPECTED = FIRST + b"".join(b"%09d\n" % number for number in range(100_000))


async def test_every_byte_arrives_once_and_in_order(make: MakePipe, file: Path) -> None:
    pipe = make()

    await write(pipe, ONE_MILLION_BYTES)
    await pipe.close()

    assert content(file) == EXPECTED


async def test_the_bytes_stay_what_they_are(make: MakePipe, file: Path) -> None:
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


async def test_an_adopted_pipe_goes_on_in_the_middle_of_a_line(
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


async def test_what_a_full_disk_does_not_take_is_dropped_and_told_when_it_does(
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


async def test_a_note_that_does_not_fit_is_not_begun(
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


async def test_what_the_file_took_of_a_write_is_not_counted_as_dropped(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    pipe = make()
    file_limit(100_000)

    with capture_logs():
        await write(pipe, "print('x' * 299_988)")
        await pipe.close()

    assert (file.stat().st_size, pipe.dropped_bytes) == (100_000, 200_000)  # noqa: ASYNC240


async def test_a_log_that_cannot_be_opened_stops_nobody(
    make: MakePipe, file: Path, tmp_path: Path
) -> None:
    file.parent.symlink_to(tmp_path / "no" / "volume")

    with capture_logs() as logged:
        pipe = make()
        await write(pipe, ONE_MILLION_BYTES)
        await pipe.close()

    assert pipe.dropped_bytes == len(EXPECTED)
    assert [each["event"] for each in logged] == ["log.refused"]


async def test_what_waits_is_there_after_a_drain(make: MakePipe, file: Path) -> None:
    pipe = make()
    end = pipe.open_for_instance(HEADING)
    os.set_blocking(end, False)
    written = os.write(end, b"x" * PIPE_BYTES)

    await pipe.drain()

    assert len(FIRST) + written == file.stat().st_size  # noqa: ASYNC240
    os.close(end)
    await pipe.close()


async def test_a_drain_ends_although_somebody_writes_on(
    make: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that outlived its leader must not hold up its end, nor the logs of others."""
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


async def test_a_writer_outlives_the_reader(make: MakePipe) -> None:
    """Without a reader of its own it would get SIGPIPE when the daemon dies."""
    pipe = make()
    script = "import os, sys; os.write(1, b'a'); sys.stdin.read(); os.write(1, b'b')"
    end = pipe.open_for_instance(HEADING)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=end) as one:  # noqa: ASYNC220
        os.close(end)
        await pipe.close()
        one.communicate(timeout=30)

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

    assert (descriptors, threads) == (open_descriptors(), threading.active_count())


async def test_the_last_lines_are_those_that_still_waited_too(make: MakePipe) -> None:
    pipe = make()
    await write(pipe, "print('x'); print('y')")

    assert await pipe.last_lines(9, HEADING) == ["x", "y"]
    await pipe.close()


async def test_last_lines_are_not_waited_for_when_the_disk_stalls(
    make: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake = threading.Event()
    monkeypatch.setattr("comfysup.system.log_pipe.PATIENCE", 0.05)
    monkeypatch.setattr("comfysup.system.log_pipe.read_tail", lambda *_, **__: awake.wait())
    pipe = make()

    lines = await pipe.last_lines(9, "")

    assert lines == []
    awake.set()
    await pipe.close()


async def test_a_fifo_that_nobody_holds_any_more_may_have_lost_something(
    tmp_path: Path, file: Path, pump: LogPump
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file.parent.mkdir()
    await asyncio.to_thread(file.write_text, "half a li")

    pipe = LogPipe.adopt(fifo, file, pump)
    lines = await pipe.last_lines(9, "")

    assert lines == ["half a li", MAYBE_MORE]
    await pipe.close()


async def test_a_fifo_that_is_held_loses_nothing(make: MakePipe, file: Path, pump: LogPump) -> None:
    earlier = make()
    end = earlier.open_for_instance(HEADING)
    os.write(end, b"half a ")
    await earlier.drain()

    pipe = LogPipe.adopt(earlier.fifo, file, pump)
    os.write(end, b"line\n")
    lines = await pipe.last_lines(9, HEADING)

    assert lines == ["half a line"]
    os.close(end)
    await earlier.close()
    await pipe.close()


async def test_an_ended_writer_costs_no_time(make: MakePipe) -> None:
    """A FIFO without writers is readable for ever; the thread must not spin on it."""
    pipe = make()
    await write(pipe, "print('x')")
    await pipe.drain()
    before = time.process_time()

    await asyncio.sleep(0.3)

    assert time.process_time() - before < 0.1
    await pipe.close()


async def test_a_disk_that_stalls_holds_up_neither_the_loop_nor_an_end(
    make: MakePipe, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to a volume that is away for a while does not return; drain and close do."""
    awake = threading.Event()
    splice = os.splice

    def stall(*arguments: int, **flags: int) -> int:
        awake.wait()
        return splice(*arguments, **flags)

    monkeypatch.setattr(os, "splice", stall)
    monkeypatch.setattr("comfysup.system.log_pipe.PATIENCE", 0.05)
    pipe = make()
    end = pipe.open_for_instance(HEADING)
    loop = asyncio.get_running_loop()
    before = loop.time()

    await pipe.drain()
    await pipe.close()

    took = loop.time() - before
    size = file.stat().st_size  # noqa: ASYNC240
    os.close(end)
    awake.set()
    await (pipe := make()).drain()
    await pipe.close()

    assert took < 1
    assert (size, content(file)) == (0, FIRST)


async def test_a_defect_costs_the_log_and_not_the_instance(
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
