"""The usage of process trees, and whether they work."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from comfysup.linux.host.usage import UsageSampler, Walk, Work
from tests.scenarios.waiting import until

BURN = "print('on', flush=True)\nwhile True: pass"
SLEEP = "print('on', flush=True)\nimport time; time.sleep(600)"
WAIT_FOR_A_LOCK = """
import threading, time
lock = threading.Lock(); lock.acquire()
threading.Thread(target=lock.acquire, daemon=True).start()
print('on', flush=True)
while not lock.acquire(timeout=0.05): pass
"""
WRITE = (
    "print('on', flush=True)\nimport time\nwhile True: open('{}', 'w').write('x'); time.sleep(.02)"
)
PARENT = """
import subprocess, sys
children = [subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']) for _ in "ab"]
print('on', flush=True)
children[0].wait()
"""
MEMORY = "x = b'1' * (200 << 20)\nprint('on', flush=True)\nimport time; time.sleep(600)"

Run = Callable[[str], int]
T = TypeVar("T")


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a Python program, and wait until it prints that it runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def over(seconds: float) -> None:
    """Wait until the counters of the kernel have advanced."""
    time.sleep(seconds)


def test_the_usage_of_a_process_tree_is_summed(run: Run) -> None:
    pid = run(PARENT)
    walk = Walk.now()

    usage = walk.usage(walk.trees([pid])[pid], walk)

    assert usage.processes == 3
    assert usage.rss_bytes > 3 << 20


def test_memory_is_the_resident_size(run: Run) -> None:
    pid = run(MEMORY)
    walk = Walk.now()

    assert 200 << 20 < walk.usage([pid], walk).rss_bytes < 260 << 20


def test_cpu_usage_is_measured_since_the_previous_walk(run: Run) -> None:
    burning, sleeping = run(BURN), run(SLEEP)
    before = Walk.now()
    while (walk := Walk.now()).usage([burning], before).cpu_percent == 0:
        over(0.1)

    assert walk.usage([burning], before).cpu_percent > walk.usage([sleeping], before).cpu_percent


def test_a_process_that_ended_has_no_tree() -> None:
    assert Walk.now().trees([2**22 + 1]) == {2**22 + 1: []}


async def test_the_sampler_follows_the_running_instances(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.linux.host.usage.PERIOD", 0.05)
    pid = run(PARENT)
    roots: dict[int, int] = {}
    sampler = UsageSampler(lambda: roots, asyncio.to_thread)
    task = asyncio.create_task(sampler.run())
    assert sampler.of(pid) is None

    roots[0] = pid
    usage = await until(lambda: sampler.of(pid))
    assert usage
    assert usage.processes == 3
    assert len(sampler.members(pid)) == 3

    roots.clear()
    await until(lambda: sampler.of(pid) is None)
    task.cancel()


async def test_usage_is_unknown_once_proc_has_not_responded_for_its_limit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.linux.host.usage.PERIOD", 0.01)
    answers = True

    async def in_thread(work: Callable[[], T]) -> T:
        if not answers:
            raise OSError("/proc has not answered for 3 s")
        return work()

    pid = run(SLEEP)
    sampler = UsageSampler(lambda: {0: pid}, in_thread)
    task = asyncio.create_task(sampler.run())
    await until(lambda: sampler.of(pid))
    answers = False
    monkeypatch.setattr("comfysup.linux.host.usage.OUTDATED", 0.05)

    await until(lambda: sampler.of(pid) is None)
    assert sampler.of(pid) is None
    task.cancel()


@pytest.mark.parametrize("program", [SLEEP, WAIT_FOR_A_LOCK])
def test_a_waiting_process_does_not_work(run: Run, program: str) -> None:
    pid = run(program)
    work = Work(lambda: [pid])
    over(0.2)
    work.since_last_call()
    over(1)

    assert not work.since_last_call()


def test_a_process_that_uses_cpu_works_until_it_is_stopped(run: Run) -> None:
    pid = run(BURN)
    work = Work(lambda: [pid])
    work.since_last_call()
    over(0.3)
    assert work.since_last_call()

    os.kill(pid, signal.SIGSTOP)
    over(0.05)
    work.since_last_call()
    over(0.3)

    assert not work.since_last_call()


def test_a_writing_process_works(run: Run, tmp_path: Path) -> None:
    pid = run(WRITE.format(tmp_path / "file"))
    work = Work(lambda: [pid])
    work.since_last_call()
    over(0.3)

    assert work.since_last_call()


def test_a_child_that_works_counts(run: Run) -> None:
    pid, child = run(SLEEP), run(BURN)
    work = Work(lambda: [pid, child])
    work.since_last_call()
    over(0.3)

    assert work.since_last_call()


def test_an_exited_process_does_not_work() -> None:
    work = Work(lambda: [2**22 + 1])
    work.since_last_call()

    assert not work.since_last_call()
