# ruff: noqa: ASYNC220, ASYNC221, ASYNC222 - nobody but the test waits on its loop

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from comfysup.linux.process.proc import children_of, own_orphans, read_stat
from comfysup.linux.process.reaper import Reaper
from tests.scenarios.waiting import until
from tests.unit.linux.children import alive, end, shell, wait_ended

ORPHANS = """
import os, sys
for number in range(100):
    if os.fork() == 0:
        middle = os.getpid()
        if os.fork() == 0:
            while os.getppid() == middle:
                os.sched_yield()
            os._exit(number)
        os._exit(0)
    os.wait()
"""

MANY_ORPHANS = """
import os
for _ in range(1500):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
"""


async def no_zombies(*but: int) -> None:
    """Wait until this process has no zombie children, except for those."""

    def zombies() -> list[int]:
        children = {pid: read_stat(pid) for pid in children_of(os.getpid()) if pid not in but}
        return [pid for pid, stat in children.items() if stat and stat.ended]

    await until(lambda: not zombies())


async def test_orphans_are_reparented_and_reaped(reaper: Reaper) -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        reaper.add_leader(made.pid)
        orphan = int(made.stdout.readline())

    assert orphan in children_of(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    await until(lambda: read_stat(orphan) is None)


async def test_a_leader_keeps_its_exit_status_until_it_is_removed(reaper: Reaper) -> None:
    leader, other = shell("exit 5"), shell("exit 6")
    reaper.add_leader(leader)
    wait_ended(leader)

    await until(lambda: other not in children_of(os.getpid()))

    assert leader in children_of(os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 5


async def test_a_removed_leader_is_reaped(reaper: Reaper) -> None:
    leader = shell("exit 5")
    reaper.add_leader(leader)
    wait_ended(leader)

    assert reaper.is_leader(leader)
    reaper.remove_leader(leader)
    reaper.reap()

    assert not reaper.is_leader(leader)
    assert leader not in children_of(os.getpid())


async def test_a_hundred_orphans_at_once_leave_no_zombie(reaper: Reaper) -> None:
    leader = os.posix_spawn(sys.executable, [sys.executable, "-c", ORPHANS], os.environ)
    reaper.add_leader(leader)
    await until(lambda: not alive(leader))

    await no_zombies(leader)

    assert leader in children_of(os.getpid())
    end(leader)


async def test_living_children_are_left_alone(reaper: Reaper) -> None:
    living = shell("exec sleep 60")

    reaper.reap()

    assert living in children_of(os.getpid())
    end(living)


async def test_no_running_child_is_missed_while_others_are_reaped(reaper: Reaper) -> None:
    """The kernel lists children in portions, and resumes by counting."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)  # nobody reaps by himself
    for _ in range(5):
        leader = os.posix_spawn(sys.executable, [sys.executable, "-c", MANY_ORPHANS], os.environ)
        reaper.add_leader(leader)
        wait_ended(leader)
        living = shell("exec sleep 60")
        over = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            looking = threads.submit(looks_without, living, over)
            reaper.reap()
            over.set()

        assert looking.result() == 0
        end(living)
        end(leader)


def looks_without(pid: int, over: threading.Event) -> int:
    """List the children repeatedly; return how often that child was missing."""
    missed = 0
    while not over.is_set():
        missed += pid not in own_orphans()
    return missed


async def test_a_closed_reaper_leaves_no_signal_handler() -> None:
    reaper = Reaper()
    reaper.start()

    reaper.close()

    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
    reaper.close()
