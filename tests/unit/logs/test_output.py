"""The output of a process after a mark."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfysup.logs import pump as log_pump
from comfysup.logs.files import Rotation
from comfysup.logs.output import LogOutput
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump

TEXT = b"ended"


class Writer:
    """A process that writes to a log, simulated by this process."""

    def __init__(self, directory: Path, pump: LogPump) -> None:
        self.file = directory / "logs" / "instance.log"
        self.pipe = LogPipe.create(directory / "fifo", self.file, pump)
        self.output = LogOutput(pump, self.file)
        self._end = self.pipe.open_for_instance("=== 2026-11-26T01:00:00Z comfysup: 0 'a' starts")

    def write(self, *lines: str) -> None:
        os.write(self._end, "".join(f"{line}\n" for line in lines).encode())

    async def close(self) -> None:
        os.close(self._end)
        await self.pipe.close()


@pytest.fixture
async def pump() -> AsyncIterator[LogPump]:
    started = LogPump(Rotation(max_bytes=1 << 12, keep=5))
    started.start()
    yield started
    await started.close()


@pytest.fixture
async def writer(tmp_path: Path, pump: LogPump) -> AsyncIterator[Writer]:
    one = Writer(tmp_path, pump)
    yield one
    await one.close()


async def test_a_mark_lies_behind_all_that_was_written_before(writer: Writer) -> None:
    writer.write("ended 1")
    mark = await writer.output.mark()
    writer.write("other", "ended 2", "ended 3")
    await writer.pipe.drain()

    assert await writer.output.lines_with(TEXT, mark) == ["ended 2", "ended 3"]
    assert await writer.output.lines_with(TEXT, await writer.output.mark()) == []


async def test_a_mark_outlives_a_rotation_and_the_daemon(writer: Writer, tmp_path: Path) -> None:
    writer.write("ended 1")
    mark = await writer.output.mark()
    writer.write("ended 2", *("x" * 100 for _ in range(100)), "ended 3")
    await writer.pipe.drain()
    assert writer.file.with_name("instance.log.1").exists()

    later = LogPump(Rotation())
    later.start()
    adopted = LogPipe.adopt(writer.pipe.fifo, writer.file, later, writer.pipe.began)
    found = await LogOutput(later, writer.file).lines_with(TEXT, mark)
    await adopted.close()
    await later.close()

    assert found == ["ended 2", "ended 3"]


async def test_an_invalid_mark_and_a_log_without_a_writer_give_no_lines(
    writer: Writer, pump: LogPump, tmp_path: Path
) -> None:
    writer.write("ended 1")
    mark = await writer.output.mark()
    nobody = LogOutput(pump, tmp_path / "other.log")

    assert await writer.output.lines_with(TEXT, "") == []
    assert await nobody.mark() == ""
    assert await nobody.lines_with(TEXT, mark) == []


async def test_a_closed_pump_returns_no_mark_and_no_lines(tmp_path: Path) -> None:
    closed = LogPump(Rotation())
    closed.start()
    await closed.close()
    output = LogOutput(closed, tmp_path / "instance.log")

    assert await output.mark() == ""
    assert await output.lines_with(TEXT, "1-2-3-4-5") == []


async def test_a_file_is_reported_while_the_pump_is_blocked_by_it(
    writer: Writer, pump: LogPump
) -> None:
    def mark_and_look() -> Path | None:
        pump.mark(writer.file, 1 << 20)
        stalled = pump.stalled()
        return stalled[0] if stalled else None

    writer.write("a line")

    assert await pump.ask(mark_and_look, writer.file) == writer.file
    assert pump.stalled() is None


async def test_a_file_is_reported_while_its_first_lines_are_read(
    writer: Writer, pump: LogPump, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy_with: list[Path] = []

    def read_head(*_arguments: object, **_options: object) -> list[str]:
        if stalled := pump.stalled():
            busy_with.append(stalled[0])
        return []

    monkeypatch.setattr(log_pump, "read_head", read_head)
    await writer.pipe.first_lines()

    assert busy_with == [writer.file]
