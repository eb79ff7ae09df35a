"""Output that no pump reads: FIFOs without a holder, and later generations."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from comfysup.logs.pipe import MAYBE_MORE, LogPipe, open_for_instance
from comfysup.logs.pump import LogPump
from tests.scenarios.waiting import until
from tests.unit.logs.piping import FIRST, HEADING, MakePipe, content


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


async def test_a_fifo_is_kept_until_its_bytes_are_in_the_log(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
    """If the daemon dies before, the name of the FIFO remains for the next one."""
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


async def test_the_fifo_of_a_later_process_is_kept(
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


async def test_a_fifo_with_a_holder_loses_nothing(
    make: MakePipe, file: Path, pump: LogPump
) -> None:
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
