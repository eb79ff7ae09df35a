"""The threads of a process."""

import os
import threading
import time
from pathlib import Path

from comfysup.linux.process.threads import NOTABLE_BYTES, Threads
from tests.scenarios.waiting import until


def now() -> Threads:
    threads = Threads.of(os.getpid())
    assert threads is not None
    return threads


async def test_a_thread_that_has_ended_is_missing() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    before = now()
    assert thread.native_id in before.ids

    ends.set()
    thread.join()

    await until(lambda: before.ids - now().ids == {thread.native_id})


async def test_a_thread_that_uses_cpu_counts_as_working() -> None:
    before = now()
    until_then = time.monotonic() + 0.1

    def burn() -> None:
        while time.monotonic() < until_then or not now().worked_since(before):
            pass

    thread = threading.Thread(target=burn)
    thread.start()

    worked = await until(lambda: now().worked_since(before))
    thread.join()
    assert worked


def test_large_reads_count_as_work(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(bytes(2 * NOTABLE_BYTES))
    before = now()

    file.read_bytes()

    assert now().worked_since(before)


def test_a_missing_process_has_no_threads() -> None:
    assert Threads.of(2**22 + 1) is None
