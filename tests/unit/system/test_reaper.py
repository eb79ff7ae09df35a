# ruff: noqa: ASYNC220, ASYNC221, ASYNC222 - nobody but the test waits on its loop

import os
import signal
import subprocess
import sys

from comfysup.system.proc import children_of, read_stat
from comfysup.system.reaper import Reaper
from tests.scenarios.waiting import until
from tests.unit.system.children import alive, end, shell, wait_ended

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


async def no_zombies(*but: int) -> None:
    """Waits until no child of this process is dead and unreaped, but for those."""

    def zombies() -> list[int]:
        children = {pid: read_stat(pid) for pid in children_of(os.getpid()) if pid not in but}
        return [pid for pid, stat in children.items() if stat and stat.ended]

    await until(lambda: not zombies())


async def test_orphans_come_here_and_are_reaped(reaper: Reaper) -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        reaper.add_leader(made.pid)
        orphan = int(made.stdout.readline())

    assert orphan in children_of(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    await until(lambda: read_stat(orphan) is None)


async def test_a_leader_keeps_its_status_until_it_is_let_go(reaper: Reaper) -> None:
    leader, other = shell("exit 5"), shell("exit 6")
    reaper.add_leader(leader)
    wait_ended(leader)

    await until(lambda: other not in children_of(os.getpid()))

    assert leader in children_of(os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 5


async def test_who_is_no_leader_any_more_is_reaped(reaper: Reaper) -> None:
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

    end(leader)


async def test_living_children_are_left_alone(reaper: Reaper) -> None:
    living = shell("exec sleep 60")

    reaper.reap()

    assert living in children_of(os.getpid())
    end(living)
