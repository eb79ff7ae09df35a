"""The last lines of a process."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from tests.unit.logs.piping import HEADING, MakePipe, write


async def test_the_last_lines_include_bytes_still_in_the_pipe(make: MakePipe) -> None:
    pipe = make()
    await write(pipe, "print('x'); print('y')")

    assert await pipe.last_lines(9) == ["x", "y"]
    await pipe.close()


async def test_last_lines_are_not_awaited_when_the_disk_stalls(
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


async def test_last_lines_belong_to_the_current_process(make: MakePipe) -> None:
    first = make()
    await write(first, "print('first')")
    await first.close()
    second = make()
    await write(second, "print('second')")

    assert await second.last_lines(9) == ["second"]
    assert await second.first_lines() == ["second"]
    await second.close()


async def test_last_lines_that_the_log_refused_are_known(
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


async def test_a_log_that_cannot_be_opened_has_no_start_offset(make: MakePipe, file: Path) -> None:
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


async def test_without_a_start_offset_only_later_output_belongs_to_the_process(
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
