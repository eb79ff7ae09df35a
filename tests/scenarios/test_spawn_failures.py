"""Failures to spawn a process: scenario 10."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until

NOBODY = 54_321
"""A user without other processes: only theirs are counted for RLIMIT_NPROC."""


def under_another_user() -> tuple[str, ...]:
    """A wrapper for a daemon whose number of processes can be limited: root's cannot.

    It keeps the right to read and write what the test made.
    """
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("root's processes are not limited, and there is no setpriv")
    rights = "+dac_override"
    return (
        *("setpriv", "--reuid", str(NOBODY), "--clear-groups"),
        *("--inh-caps", rights, "--ambient-caps", rights),
    )


@contextmanager
def limited(pid: int, what: int, limit: int) -> Iterator[None]:
    """Set the soft limit of another process for the block."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def limit_processes(pid: int, limit: str) -> None:
    """Set the soft limit of processes of the daemon's user, as that user."""
    command = (*under_another_user(), "prlimit", f"--pid={pid}", f"--nproc={limit}:")
    subprocess.run(command, check=True)


async def start_two(daemon: Daemon) -> list[int]:
    """Start two instances with at most two failures, and return their pids."""
    Program(daemon.workspace)
    await daemon.start(max_failures=2)
    for number in range(2):
        assert (await daemon.api.start(number, daemon.ports.reserve())).status == 200
    return [(await daemon.api.show(number))["pid"] for number in range(2)]


def attempts(daemon: Daemon) -> int:
    """Return how often a second process of instance 0 was attempted."""
    made = daemon.events("instance.starting", instance=0)[1:]
    not_made = [each for each in daemon.events("instance.exited") if each["pid"] is None]
    return len(made) + len(not_made)


@pytest.mark.parametrize("free", range(1, 8))
async def test_a_spawn_without_a_descriptor_fails_and_is_retried(daemon: Daemon, free: int) -> None:
    """Scenario 10: EMFILE, at each of the descriptors that the making of a process takes. The
    caller hears of it over a connection that was there before."""
    _, other = await start_two(daemon)
    before = kernel.descriptors(daemon.pid)
    await daemon.api.act(0, "stop")

    with limited(daemon.pid, resource.RLIMIT_NOFILE, kernel.limit_for(daemon.pid, free)):
        answer = await daemon.api.act(0, "start")
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            await until(lambda: attempts(daemon) >= 2)
    refused = answer.status not in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR)
    if refused:  # by the look at its environment, before anything was tried
        assert (await daemon.api.act(0, "start")).status == HTTPStatus.OK
    shown = await daemon.api.until(0, state="running")

    if answer.status != HTTPStatus.OK:
        assert answer.body["code"] == ("unknown_environment" if refused else "start_failed")
        assert "Too many open files" in answer.detail
        assert refused or shown["restarts"] >= 1
    assert kernel.alive(other)
    await until(lambda: kernel.descriptors(daemon.pid) == before)
    assert len(daemon.processes()) == 2


async def test_instances_leave_the_daemon_the_descriptors_to_answer_with(daemon: Daemon) -> None:
    """As many as possible are started; the others fail with a reason; requests are answered."""
    Program(daemon.workspace)
    await daemon.start("prlimit", "--nofile=80:80")
    count = 16
    starts = [daemon.api.start(number, daemon.ports.reserve()) for number in range(count)]
    answers = await asyncio.gather(*starts)

    failed = [each for each in answers if each.status != HTTPStatus.OK]
    assert 0 < len(failed) < count
    for each in failed:
        assert each.body["code"] == "start_failed"
        assert "Too many open files: comfysup uses " in each.detail
        assert "of its 80 descriptors" in each.detail
    assert (await daemon.api.ask("GET", "/livez")).status == HTTPStatus.OK
    assert (await daemon.api.ask("POST", f"{API}/stop-all")).status == HTTPStatus.OK
    assert (await daemon.api.start(count - 1, daemon.ports.reserve())).status == HTTPStatus.OK


async def test_a_crash_without_free_descriptors_is_handled_later(daemon: Daemon) -> None:
    """Scenario 10: EMFILE. Nobody can say then what lives, so nothing is started before it can
    be looked at; what runs runs on."""
    crashed, other = await start_two(daemon)
    before = kernel.descriptors(daemon.pid)

    with limited(daemon.pid, resource.RLIMIT_NOFILE, 3):
        os.kill(crashed, signal.SIGKILL)
        [exited] = await until(lambda: daemon.events("instance.exited"))
    shown = await daemon.api.until(0, state="running", generation=2)

    assert exited["signal"] == "SIGKILL"
    assert (shown["restarts"], shown["last_exit"]["signal"]) == (1, "SIGKILL")
    assert (await daemon.api.show(1))["pid"] == other
    await until(lambda: kernel.descriptors(daemon.pid) == before)


async def test_a_start_without_a_free_process_is_retried_beyond_max_failures(
    daemon: Daemon,
) -> None:
    """Scenario 10: EAGAIN."""
    Program(daemon.workspace)
    daemon.root.chmod(0o755)
    await daemon.start(*under_another_user(), max_failures=2)
    assert (await daemon.api.start(0, daemon.ports.reserve())).status == 200
    first = await daemon.api.show(0)
    before = kernel.descriptors(daemon.pid)

    limit_processes(daemon.pid, "1")
    os.kill(first["pid"], signal.SIGKILL)
    await until(lambda: len(daemon.events("instance.backoff")) >= 3)
    shown = await daemon.api.until(0, state="backoff")
    limit_processes(daemon.pid, str(resource.getrlimit(resource.RLIMIT_NPROC)[0]))
    await daemon.api.until(0, state="running")

    assert shown["last_exit"]["reason"] == "spawn_failed"
    assert "Resource temporarily unavailable" in shown["last_exit"]["message"]
    assert (shown["last_exit"]["exit_code"], shown["last_exit"]["signal"]) == (None, None)
    await until(lambda: kernel.descriptors(daemon.pid) == before)


async def test_arguments_too_large_for_the_kernel_are_a_failure(daemon: Daemon) -> None:
    """Scenario 10, E2BIG: no resource of the process is left."""
    Program(daemon.workspace)
    await daemon.start()
    before = kernel.descriptors(daemon.pid)
    env = {f"V{number}": "x" * 30_000 for number in range(20)}

    # A quarter of the stack is for arguments and variables, and an eighth of a megabyte at least.
    with limited(daemon.pid, resource.RLIMIT_STACK, 1 << 19):
        answer = await daemon.api.start(0, daemon.ports.reserve(), env=env, restart="never")
    shown = await daemon.api.until(0, state="failed")

    assert (answer.status, answer.body["code"]) == (500, "start_failed")
    assert "Argument list too long" in answer.detail
    assert shown["last_exit"]["reason"] == "spawn_failed"
    await until(lambda: kernel.descriptors(daemon.pid) == before)
    assert not list((daemon.run_dir / "fifo").iterdir())
