"""Adopted processes, identified by pid and start time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from comfysup.linux.process.pidfd import ExitStatus
from comfysup.linux.process.proc import read_stat
from comfysup.linux.process.process import Process
from comfysup.linux.process.reaper import Reaper
from tests.scenarios.waiting import bounded, until
from tests.unit.linux.children import (
    MARKER,
    alive,
    limited_descriptors,
    open_descriptors,
    shell,
    sweeps,
)

pytestmark = pytest.mark.usefixtures("refusal")

# Starts a program in a session of its own, says its pid, and reaps it when told to.
PARENT = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", sys.argv[1]], start_new_session=True,
                         env={"COMFYSUP_MARKER": sys.argv[2], "PATH": "/usr/bin:/bin"})
print(child.pid, flush=True)
sys.stdin.readline()
child.wait()
print("reaped", flush=True)
sys.stdin.readline()
"""


@dataclass
class Foreign:
    """A process that is not a child of this one; `reap` makes its own parent wait for it."""

    parent: subprocess.Popen[str]
    pid: int
    start_time: int

    @classmethod
    def of(cls, script: str) -> "Foreign":
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, script, MARKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        stat = read_stat(pid)
        assert stat is not None
        return cls(parent, pid, stat.start_time)

    def reap(self) -> None:
        assert self.parent.stdin is not None
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()

    def reaped(self) -> None:
        self.reap()
        assert self.parent.stdout is not None
        self.parent.stdout.readline()


@pytest.fixture
def foreign() -> Iterator[list[Foreign]]:
    made: list[Foreign] = []
    yield made
    for each in made:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.parent.kill()
        each.parent.communicate()


def start(foreign: list[Foreign], script: str = "sleep 60 & wait; sleep 60") -> Foreign:
    foreign.append(Foreign.of(script))
    return foreign[-1]


def adopt(one: Foreign, reaper: Reaper, start_time: int | None = None) -> Process:
    return Process.adopt(one.pid, start_time or one.start_time, MARKER, reaper, sweeps())


async def ended(process: Process) -> ExitStatus:
    async with bounded():
        return await process.ended()


async def swept(process: Process) -> None:
    async with bounded():
        await process.sweep()


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123 - a file of the kernel
        return [int(word) for word in file.read().split()]


async def test_a_signal_without_a_free_descriptor_is_sent_later(
    foreign: list[Foreign], reaper: Reaper
) -> None:
    one = start(foreign)
    process = adopt(one, reaper)

    with limited_descriptors(0):
        process.signal_group(signal.SIGKILL)

    one.reap()
    assert (await ended(process)).signal in {signal.SIGKILL, None}  # None: an older kernel
    await swept(process)
    assert not alive(one.pid)


async def test_the_group_of_an_adopted_process_is_signalled_and_its_end_detected(
    foreign: list[Foreign], reaper: Reaper
) -> None:
    one = start(foreign)
    (child,) = await until(lambda: children(one.pid))
    process = adopt(one, reaper)
    one.reap()

    process.signal_group(signal.SIGTERM)
    status = await ended(process)
    await swept(process)

    assert status in (ExitStatus(signal=signal.SIGTERM), ExitStatus())
    assert not alive(one.pid)
    assert not alive(child)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
async def test_an_adopted_process_has_its_exit_status_if_the_kernel_reports_it(
    foreign: list[Foreign], reaper: Reaper, code: int
) -> None:
    one = start(foreign, f"sleep 0.2; exit {code}")
    process = adopt(one, reaper)
    one.reap()

    status = await ended(process)
    await swept(process)

    assert status in (ExitStatus(code=code), ExitStatus())


async def test_a_zombie_has_ended(foreign: list[Foreign], reaper: Reaper) -> None:
    """Its own parent does not wait for it; the status is unknown."""
    one = start(foreign, "exit 3")
    await until(lambda: not alive(one.pid))
    process = adopt(one, reaper)

    assert await ended(process) == ExitStatus()
    await swept(process)


async def test_a_missing_adopted_process_has_ended_and_its_descendants_are_swept(
    foreign: list[Foreign], reaper: Reaper
) -> None:
    one = start(foreign, "sleep 60 & (setsid sleep 61 &) ; sleep 0.1")
    await until(lambda: not alive(one.pid))
    one.reaped()
    left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(pid)]  # noqa: PTH208 - as names
    process = adopt(one, reaper)

    assert await ended(process) == ExitStatus()
    await swept(process)

    assert len(left) == 2
    assert not [pid for pid in left if alive(pid)]


def marked(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - a file of the kernel
            return f"COMFYSUP_MARKER={MARKER}".encode() in file.read() and alive(pid)
    except OSError:
        return False


async def test_a_reused_pid_is_an_ended_process(foreign: list[Foreign], reaper: Reaper) -> None:
    """Neither it nor its group is signalled, nor its session swept."""
    stranger = start(foreign, "unset COMFYSUP_MARKER; exec sh -c 'sleep 60 & wait; sleep 60'")
    (child,) = await until(lambda: children(stranger.pid))
    process = adopt(stranger, reaper, start_time=stranger.start_time - 1)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process.signal_group(number)
    assert await ended(process) == ExitStatus()
    await swept(process)

    assert alive(stranger.pid)
    assert alive(child)


async def test_a_child_of_this_process_keeps_its_exit_status(reaper: Reaper) -> None:
    """As after a re-exec, which keeps children."""
    pid = shell("sleep 0.1; exit 9")
    stat = read_stat(pid)
    assert stat is not None
    process = Process.adopt(pid, stat.start_time, MARKER, reaper, sweeps())

    assert await ended(process) == ExitStatus(code=9)
    await swept(process)

    assert read_stat(pid) is None


async def test_adopting_leaves_no_descriptor(foreign: list[Foreign], reaper: Reaper) -> None:
    one = start(foreign, "sleep 60")
    before = open_descriptors()

    await swept(adopt(one, reaper, start_time=one.start_time - 1))
    await swept(adopt(one, reaper))
    one.reaped()
    await swept(adopt(one, reaper))

    assert before == open_descriptors()


@pytest.fixture
def before_linux_6_9(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a kernel without that flag of pidfd_send_signal."""
    monkeypatch.setattr("comfysup.linux.process.pidfd.SIGNAL_PROCESS_GROUP", 1 << 20)


@pytest.mark.parametrize("refusal", [None], indirect=True)
@pytest.mark.usefixtures("before_linux_6_9")
async def test_an_older_kernel_signals_the_group_of_an_adopted_process_member_by_member(
    foreign: list[Foreign], reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group number of a leader reaped by another process may be reused."""
    one = start(foreign)
    (child,) = await until(lambda: children(one.pid))
    process = adopt(one, reaper)
    numbers: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _number: numbers.append(group))

    process.signal_group(signal.SIGTERM)
    await ended(process)
    monkeypatch.undo()
    one.reap()
    await swept(process)

    assert numbers == []
    assert not alive(one.pid)
    assert not alive(child)


@pytest.mark.parametrize("refusal", [None], indirect=True)
@pytest.mark.usefixtures("before_linux_6_9")
async def test_an_older_kernel_signals_no_group_whose_number_is_another_process(
    foreign: list[Foreign], reaper: Reaper
) -> None:
    stranger = start(foreign, "unset COMFYSUP_MARKER; exec sh -c 'sleep 60 & wait; sleep 60'")
    (child,) = await until(lambda: children(stranger.pid))
    process = adopt(stranger, reaper)
    process.start_time -= 1  # as if the number had been given anew since

    process.signal_group(signal.SIGKILL)

    assert alive(child)
