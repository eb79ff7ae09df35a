import asyncio
import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.linux.rundir.state_file import StateFile
from comfysup.logs.files import Rotation
from comfysup.logs.pipe import MAYBE_MORE, PIPE_BYTES, LogPipe, open_for_instance
from comfysup.logs.pump import LogPump
from comfysup.logs.unreported_losses import UnreportedLosses
from comfysup.logs.writer import LogWriter
from tests.scenarios.waiting import HANG, bounded, until
from tests.unit.linux.children import open_descriptors

MakePipe = Callable[[], LogPipe]

HEADING = "=== 2026-11-26T01:00:00Z comfysup: 0 'a' starts, generation 1"
FIRST = f"{HEADING}\n".encode()


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
    async with bounded():
        assert await writer.wait() == 0


def content(file: Path) -> bytes:
    return file.read_bytes()


ONE_MILLION_BYTES = "import os; [os.write(1, b'%09d\\n' % n) for n in range(100_000)]"
EXPECTED = FIRST + b"".join(b"%09d\n" % number for number in range(100_000))


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


async def test_the_next_daemon_reports_a_loss_that_the_last_one_could_not_report(
    tmp_path: Path, file: Path
) -> None:
    async def write_once(text: str) -> None:
        """Writes it as under a daemon of its own."""
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
def test_damaged_notes_of_losses_are_none(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "losses.json").write_bytes(damaged)

    losses = UnreportedLosses(StateFile(tmp_path / "losses.json"))
    losses.note(tmp_path / "log")

    assert tmp_path / "log" in losses
    assert tmp_path / "log" in UnreportedLosses(StateFile(tmp_path / "losses.json"))


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


async def test_the_written_part_of_a_write_is_not_counted_as_dropped(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    pipe = make()
    file_limit(100_000)

    with capture_logs():
        await write(pipe, f"print('x' * {299_999 - len(FIRST)})")
        await pipe.close()

    assert (file.stat().st_size, pipe.dropped_bytes) == (100_000, 200_000)  # noqa: ASYNC240


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


async def test_a_volume_that_holds_the_pump_in_the_kernel_is_named(
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


async def test_the_last_lines_are_those_that_still_waited_too(make: MakePipe) -> None:
    pipe = make()
    await write(pipe, "print('x'); print('y')")

    assert await pipe.last_lines(9) == ["x", "y"]
    await pipe.close()


async def test_last_lines_are_not_waited_for_when_the_disk_stalls(
    make: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake = threading.Event()
    monkeypatch.setattr("comfysup.logs.pipe.PATIENCE", 0.05)
    monkeypatch.setattr("comfysup.logs.pump.read_tail", lambda *_, **__: awake.wait())
    pipe = make()

    lines = await pipe.last_lines(9)

    assert lines is None
    awake.set()
    await pipe.close()


async def test_last_lines_are_those_of_the_present_process(make: MakePipe) -> None:
    first = make()
    await write(first, "print('first')")
    await first.close()
    second = make()
    await write(second, "print('second')")

    assert await second.last_lines(9) == ["second"]
    assert await second.first_lines() == ["second"]
    await second.close()


async def test_last_lines_that_the_log_refused_are_known_all_the_same(
    make: MakePipe, file: Path, file_limit: Callable[[int], None]
) -> None:
    earlier = make()
    await write(earlier, "print('an earlier process')")
    await earlier.close()
    file_limit(file.stat().st_size)  # noqa: ASYNC240
    pipe = make()
    with capture_logs():
        await write(pipe, "print('OSError: [Errno 28] No space left on device')")
        lines = await pipe.last_lines(9)
    await pipe.close()

    assert lines == ["OSError: [Errno 28] No space left on device"]


async def test_a_log_that_cannot_be_opened_has_no_beginning_before_it_can(
    make: MakePipe, file: Path
) -> None:
    file.mkdir(parents=True)  # noqa: ASYNC240
    pipe = make()
    end = pipe.open_for_instance(HEADING)
    os.write(end, b"refused\n")

    assert await pipe.last_lines(9) == ["refused"]
    assert pipe.began == ""
    file.rmdir()  # noqa: ASYNC240
    os.write(end, b"taken\n")
    [note, taken] = await pipe.last_lines(9) or []

    assert "bytes of log were dropped here" in note
    assert taken == "taken"
    assert pipe.began
    os.close(end)
    await pipe.close()


async def test_without_a_known_beginning_only_later_output_counts_as_the_process_s(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
    earlier = make()
    end = earlier.open_for_instance(HEADING)
    os.write(end, b"perhaps of another life\n")
    await earlier.drain()

    pipe = LogPipe.adopt(earlier.fifo, file, pump, began="")
    await pipe.drain()
    os.write(end, b"own\n")

    assert await pipe.last_lines(9) == ["own"]
    os.close(end)
    await earlier.close()
    await pipe.close()


async def test_a_fifo_without_a_holder_may_have_lost_output(
    tmp_path: Path, file: Path, pump: LogPump
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file.parent.mkdir()
    await asyncio.to_thread(file.write_text, "half a li")

    pipe = LogPipe.adopt(fifo, file, pump)
    lines = await pipe.last_lines(9)

    assert content(file).decode() == f"half a li\n{MAYBE_MORE}\n"
    assert lines == [MAYBE_MORE]
    await pipe.close()


async def test_waiting_bytes_outlive_a_holder_that_ends_while_the_fifo_is_opened(
    tmp_path: Path, file: Path, pump: LogPump, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    holder = open_for_instance(fifo, HEADING)
    open_it = os.open

    def open_late(path: Path, flags: int, *more: int) -> int:
        opened = open_it(path, flags, *more)
        if path == fifo and flags & os.O_WRONLY:
            os.close(holder)
        return opened

    monkeypatch.setattr(os, "open", open_late)
    pipe = LogPipe.adopt(fifo, file, pump)
    await pipe.close()

    assert content(file) == FIRST


async def test_a_fifo_stays_until_its_waiting_bytes_are_in_the_log(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
    """A daemon that dies before leaves the name by which the next one says what is missing."""
    pipe, go_on = make(), threading.Event()
    await pipe.begun()
    _ = pump.ask(go_on.wait)
    os.close(pipe.open_for_instance(HEADING))

    pipe.abandon()
    await asyncio.sleep(0)
    there = pipe.fifo.exists()
    go_on.set()

    assert there
    await until(lambda: not pipe.fifo.exists())
    assert content(file) == FIRST


async def test_the_fifo_of_a_later_process_is_left_alone(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
    pipe, go_on = make(), threading.Event()
    await pipe.begun()
    _ = pump.ask(go_on.wait)
    os.close(pipe.open_for_instance(HEADING))
    pipe.abandon()

    later = make()
    go_on.set()
    await later.begun()

    assert later.fifo.exists()
    await later.close()


async def test_a_fifo_that_is_held_loses_nothing(make: MakePipe, file: Path, pump: LogPump) -> None:
    earlier = make()
    end = earlier.open_for_instance(HEADING)
    os.write(end, b"half a ")
    await earlier.drain()

    pipe = LogPipe.adopt(earlier.fifo, file, pump, earlier.began)
    os.write(end, b"line\n")
    lines = await pipe.last_lines(9)

    assert lines == ["half a line"]
    os.close(end)
    await earlier.close()
    await pipe.close()


async def test_an_ended_writer_costs_no_turn(
    make: MakePipe, pump: LogPump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO without writers is readable for ever; the thread must not spin on it."""
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


@contextmanager
def busy(pipe: LogPipe) -> Iterator[None]:
    """Writes to a pipe all the time."""
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


async def test_a_log_that_takes_bytes_again_is_well_while_another_is_busy(
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


async def test_a_pump_that_stalled_at_its_close_ends_when_its_volume_answers(
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
