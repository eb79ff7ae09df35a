"""Handles to processes, by pidfds and without them."""

# ruff: noqa: ASYNC220, ASYNC222, ASYNC240 - nobody but the test waits on its loop

import asyncio
import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from comfysup.linux.process import handle
from comfysup.linux.process.handle import PolledProcess, open_process
from comfysup.linux.process.pidfd import ExitStatus, Pidfd
from tests.scenarios.waiting import bounded
from tests.unit.linux.children import TERMINATING, alive, child, end, shell, spawn, wait_ended

pytestmark = pytest.mark.usefixtures("refusal")

GONE = 2**22 + 1
"""No pid can be that high: PID_MAX_LIMIT is 2**22."""


def test_a_process_is_held_by_pidfd_unless_the_kernel_refuses(refusal: str | None) -> None:
    with child("sleep", "60") as pid:
        one = open_process(pid)
        assert isinstance(one, PolledProcess if refusal else Pidfd)
        one.close()


async def test_a_pid_that_names_another_process_is_not_signalled() -> None:
    with child("sleep", "60") as pid:
        one = PolledProcess(pid)
        one._last = replace(one._last, start_time=one._last.start_time - 1)  # as if given anew

        one.send(signal.SIGKILL)
        assert not one.signal_group(signal.SIGKILL, is_ours=False)
        one.reap()

        assert one.is_gone()
        assert not one.peek().known
        assert alive(pid)


def refuse_descriptors(_pid: int) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_process_that_cannot_be_identified_is_not_signalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(
        ["sh", "-c", "setsid sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        one = PolledProcess(pid)
        with monkeypatch.context() as patch:
            patch.setattr(handle, "read_stat", refuse_descriptors)
            with pytest.raises(OSError, match="Too many open files"):
                one.send(signal.SIGKILL)
            with pytest.raises(OSError, match="Too many open files"):
                one.signal_group(signal.SIGKILL, is_ours=False)
            assert not one.is_gone()
        assert alive(pid)
        one.send(signal.SIGKILL)


async def test_a_child_is_signalled_without_free_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with child("sleep", "60") as pid:
        one = PolledProcess(pid)
        monkeypatch.setattr(handle, "read_stat", refuse_descriptors)

        one.send(signal.SIGKILL)

        async with bounded():
            await one.ended()
        assert one.peek() == ExitStatus(signal=signal.SIGKILL)


async def status_of(pid: int) -> ExitStatus:
    """Return the status of a child, which is reaped."""
    one = open_process(pid)
    try:
        await one.ended()
        return one.peek()
    finally:
        one.reap()
        one.close()


async def test_every_exit_code_is_reported() -> None:
    statuses = [await status_of(shell(f"exit {code}")) for code in range(256)]

    assert [ExitStatus(code=code) for code in range(256)] == statuses


@pytest.mark.parametrize("number", TERMINATING)
async def test_every_signal_is_reported(number: int) -> None:
    pid = spawn("sleep", "60")
    os.kill(pid, number)

    assert ExitStatus(signal=number) == await status_of(pid)


async def test_a_named_signal_is_reported_as_signals_member() -> None:
    pid = spawn("sleep", "60")
    os.kill(pid, signal.SIGKILL)

    status = await status_of(pid)

    assert isinstance(status.signal, signal.Signals)


async def test_peeking_leaves_the_child_to_be_reaped() -> None:
    pid = shell("exit 7")
    one = open_process(pid)
    await one.ended()

    first, second = one.peek(), one.peek()

    assert ExitStatus(code=7) == first == second
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    one.close()


async def test_a_running_process_has_no_exit_status() -> None:
    with child("sleep", "60") as pid:
        one = open_process(pid)

        assert ExitStatus() == one.peek()
        one.close()


async def test_reaping_twice_harms_nothing() -> None:
    pid = shell("exit 0")
    one = open_process(pid)
    await one.ended()

    one.reap()
    one.reap()

    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    one.close()


async def test_opening_an_unused_pid_fails() -> None:
    with pytest.raises(ProcessLookupError):
        open_process(GONE)


@pytest.mark.parametrize("reaped", [False, True], ids=["zombie", "reaped"])
async def test_signals_to_an_ended_process_do_nothing(*, reaped: bool) -> None:
    pid = shell("exit 0")
    one = open_process(pid)
    wait_ended(pid)
    if reaped:
        one.reap()

    one.send(signal.SIGKILL)
    one.signal_group(signal.SIGKILL, is_ours=True)

    if not reaped:
        assert one.peek() == ExitStatus(code=0)
    assert not alive(pid)
    end(pid)
    one.close()


async def test_a_group_is_signalled_after_the_death_of_its_leader() -> None:
    # The shell ends at once and leaves a child in the group that it led.
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, process_group=0, text=True
    ) as leader:
        assert leader.stdout is not None
        left = open_process(int(leader.stdout.readline()))
        one = open_process(leader.pid)
        await one.ended()

        one.signal_group(signal.SIGKILL, is_ours=True)

        async with bounded():
            await left.ended()
        assert ExitStatus(code=0) == one.peek()
    left.close()
    one.close()


async def test_waiting_for_one_process_does_not_delay_another() -> None:
    with child("sleep", "60") as pid:
        one = open_process(pid)
        waiting = asyncio.create_task(one.ended())
        await status_of(shell("exit 0"))

        assert not waiting.done()
        assert alive(pid)
        os.kill(pid, signal.SIGKILL)
        async with bounded():
            await waiting
        one.close()


PARENT = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
print(pid, flush=True)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("read x; exit 7", ExitStatus(code=7)),
        ("read x; kill -9 $$", ExitStatus(signal=signal.SIGKILL)),
    ],
)
async def test_a_process_of_another_parent_has_its_exit_status_if_the_kernel_reports_it(
    script: str, told: ExitStatus, refusal: str | None
) -> None:
    """Since Linux 6.15 the status is available; before, it is unknown."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        stranger = open_process(int(parent.stdout.readline()))
        # The stranger has the same stdin, and goes on at its end.
        parent.communicate()

    async with bounded():
        await stranger.ended()
    status = stranger.peek()

    assert status in (told, ExitStatus())
    if refusal is None and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15):
        assert told == status
    stranger.close()


async def test_a_cancelled_wait_for_an_end_does_not_affect_other_waits() -> None:
    with child("sleep", "60") as pid:
        one = open_process(pid)
        leaving, staying, last = (asyncio.create_task(one.ended()) for _ in range(3))
        await asyncio.sleep(0)  # all of them wait now
        leaving.cancel()
        await asyncio.wait([leaving])
        one.send(signal.SIGKILL)

        async with bounded():
            await asyncio.gather(staying, last)
        assert leaving.cancelled()
        assert one.peek() == ExitStatus(signal=signal.SIGKILL)
        one.close()


async def test_closing_a_handle_ends_a_wait() -> None:
    with child("sleep", "60") as pid:
        one = open_process(pid)
        waiting = asyncio.create_task(one.ended())
        await asyncio.sleep(0)  # it waits now

        one.close()

        async with bounded():
            await waiting
        assert alive(pid)
