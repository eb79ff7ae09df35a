# ruff: noqa: ASYNC220 - only the test waits on its loop
"""Sweeps of a process that forks and exits without end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from comfysup.linux.process.proc import all_pids, own_orphans, read_marker
from comfysup.linux.process.process import carry_out
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.process.sweep import Sweep
from comfysup.linux.process.tree import ProcessTree
from tests.scenarios.waiting import bounded
from tests.unit.linux.children import MARKER, alive, sweeps
from tests.unit.linux.sweeping import NO_LEADER, finish

pytestmark = pytest.mark.usefixtures("refusal")


# ---- a process that forks and exits again and again

COMET_C = r"""
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    pid_t ancestors[64] = {0};
    for (long left = atol(argv[1]); left > 0; left--) {
        pid_t *eldest = &ancestors[left % 64];
        while (*eldest && kill(*eldest, 0) == 0) usleep(500);
        *eldest = getpid();
        pid_t child = fork();
        if (child > 0) _exit(0);
        if (child < 0) { *eldest = 0; usleep(1000); }
        setsid();
    }
    return 0;
}
"""
COMET_PY = """
import os, sys, time
ancestors = [0] * 64
def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
for number in range(int(sys.argv[1])):
    while (eldest := ancestors[number % 64]) and lives(eldest):
        time.sleep(0.0005)
    ancestors[number % 64] = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
"""
"""Each waits for the one that came 64 before it to be reaped: init may be slow, and its zombies
would take all pids of the machine."""

FORKS = "100000"
"""So many that none ends by itself within a test."""


@pytest.fixture(scope="module")
def comet(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of a program whose pid keeps changing."""
    compiler = shutil.which("cc")
    if compiler is None:
        return [sys.executable, "-I", "-S", "-c", COMET_PY, FORKS]
    directory = tmp_path_factory.mktemp("comet")
    (directory / "comet.c").write_text(COMET_C)
    subprocess.run([compiler, "-O1", "-o", "comet", "comet.c"], cwd=directory, check=True)
    return [str(directory / "comet"), FORKS]


Bearers = Callable[[], list[int]]


@pytest.fixture
def bearers() -> Iterator[Bearers]:
    """Return the processes with the marker; none of them is left after the test."""

    def look() -> list[int]:
        return [pid for pid in all_pids() if read_marker(pid) == MARKER and alive(pid)]

    yield look
    while found := look():
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [1, 5])
def test_a_process_that_forks_and_exits_endlessly_is_ended(
    comet: list[str], bearers: Bearers, number: int
) -> None:
    env = {**os.environ, "COMFYSUP_MARKER": MARKER}
    with ExitStack() as started:
        for _ in range(number):
            started.enter_context(subprocess.Popen(comet, env=env, start_new_session=True))
    # Popen has waited for the first of each; what forks on is the child of another process.
    finish(Sweep(ProcessTree(NO_LEADER, MARKER), all_pids))

    ends = time.monotonic() + 0.5
    while time.monotonic() < ends:
        assert not bearers()


async def test_an_endlessly_forking_orphan_of_this_process_is_ended(
    comet: list[str], bearers: Bearers, reaper: Reaper
) -> None:
    env = {**os.environ, "COMFYSUP_MARKER": MARKER}
    with subprocess.Popen(comet, env=env, start_new_session=True):
        pass
    async with bounded():  # the loop must hear of each end meanwhile
        await carry_out(Sweep(ProcessTree(NO_LEADER, MARKER), own_orphans), sweeps())

    ends = time.monotonic() + 0.5
    while time.monotonic() < ends:
        assert not bearers()
