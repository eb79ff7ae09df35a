# ruff: noqa: ASYNC220 - only the test waits on its loop
"""Sweeps of the descendants of a dead process."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from comfysup.linux import executor as executors
from comfysup.linux.process import process as processes
from comfysup.linux.process import sweep as sweeping
from comfysup.linux.process import tree as lineages
from comfysup.linux.process.proc import all_pids, own_orphans, read_marker, read_stat
from comfysup.linux.process.process import carry_out
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.process.signals import NoThreadError
from comfysup.linux.process.sweep import Sweep
from comfysup.linux.process.tree import Found, ProcessTree
from tests.scenarios.waiting import bounded
from tests.unit.linux.children import MARKER, alive, child, end_orphan, sweeps, wait_ended
from tests.unit.linux.sweeping import NO_LEADER, finish
from tests.unit.linux.test_tree import HIDDEN, KINDS, dead_leader

pytestmark = pytest.mark.usefixtures("refusal")


@pytest.mark.parametrize("kind", [*KINDS, "hidden"])
async def test_orphans_of_this_process_are_ended(reaper: Reaper, kind: str) -> None:
    with dead_leader({**KINDS, "hidden": HIDDEN}[kind]) as (pid, left):
        output = os.stat(f"/proc/{left}/fd/1")  # noqa: PTH116
        process_tree = ProcessTree(pid, MARKER, (output.st_dev, output.st_ino))

        finish(Sweep(process_tree, own_orphans))

        assert not alive(left)


@pytest.mark.parametrize("kind", [*KINDS, "hidden"])
def test_orphans_of_another_process_are_ended(kind: str) -> None:
    with dead_leader({**KINDS, "hidden": HIDDEN}[kind]) as (pid, left):
        output = os.stat(f"/proc/{left}/fd/1")  # noqa: PTH116
        process_tree = ProcessTree(pid, MARKER, (output.st_dev, output.st_ino))

        finish(Sweep(process_tree, all_pids))

        assert not alive(left)


@pytest.mark.parametrize("recognized", [False, True])
def test_a_process_that_exits_during_its_examination_makes_the_look_inconclusive(
    monkeypatch: pytest.MonkeyPatch, *, recognized: bool
) -> None:
    """Its variables are gone with its memory. It may have forked before or after their reading."""
    with child("sleep", "1000") as pid:

        def exits(process_tree: ProcessTree, pid: int, *_: object, **__: object) -> bool:
            os.kill(pid, signal.SIGKILL)
            wait_ended(pid)
            return recognized

        monkeypatch.setattr(ProcessTree, "claims", exits)
        sweep = Sweep(ProcessTree(NO_LEADER, MARKER), lambda: [pid])

        assert sweep._look()


@pytest.mark.parametrize("kind", ["own session", "hidden"])
async def test_a_foreign_process_with_locked_memory_blocks_no_sweep(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a descendant's own memory, if its output identifies the descendant."""
    answers = threading.Event()
    locked: set[int] = set()

    def hang(pid: int) -> str | None:
        if pid in locked:
            answers.wait()
        return read_marker(pid)

    monkeypatch.setattr(lineages, "read_marker", hang)
    monkeypatch.setattr(processes, "TURN_PATIENCE", 0.1)
    with (
        subprocess.Popen(["sleep", "3600"]) as stranger,
        dead_leader({**KINDS, "hidden": HIDDEN}[kind]) as (pid, left),
    ):
        locked |= {stranger.pid, left} if kind == "hidden" else {stranger.pid}
        output = os.stat(f"/proc/{left}/fd/1")  # noqa: PTH116
        process_tree = ProcessTree(pid, MARKER, (output.st_dev, output.st_ino))
        async with bounded():
            await carry_out(Sweep(process_tree, all_pids), sweeps())
        answers.set()

        assert not alive(left)
        assert alive(stranger.pid)
        stranger.kill()


async def test_descendants_of_a_remnant_are_ended_even_without_signs(
    reaper: Reaper,
) -> None:
    hidden = 'env -i setsid sh -c "echo \\$\\$; exec sleep 60" > /dev/null'
    script = f"setsid -f sh -c 'echo $$; {hidden} & wait'"
    with dead_leader(script) as (pid, left):
        before = _descendants(left, 1)

        finish(Sweep(ProcessTree(pid, MARKER), own_orphans))

        assert not [each for each in (left, *before) if alive(each)]


def _descendants(pid: int, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = [each for each in map(int, children) if os.getsid(each) == each]
    return found


def test_a_known_descendant_is_ended_even_without_signs() -> None:
    with child("sleep", "60") as known, child("sleep", "60") as another:
        stats = [read_stat(known), read_stat(another)]
        found = [stat.start_time for stat in stats if stat]
        sweep = Sweep(
            ProcessTree(NO_LEADER, "nobody's"),
            list,
            [Found(known, found[0]), Found(another, found[1] - 1)],
        )

        finish(sweep)

        assert not alive(known)
        assert alive(another)


def test_processes_of_another_generation_are_not_swept() -> None:
    with child("sleep", "60", COMFYSUP_MARKER=f"{MARKER}2") as pid:
        finish(Sweep(ProcessTree(NO_LEADER, MARKER), all_pids))

        assert alive(pid)


def test_a_process_gone_before_its_examination_makes_the_look_inconclusive() -> None:
    """It may have been one that forked just before."""
    looks: list[int] = []

    def candidates() -> list[int]:
        looks.append(0)
        return [NO_LEADER + len(looks)] if len(looks) < 4 else []

    finish(Sweep(ProcessTree(NO_LEADER, MARKER), candidates))

    assert len(looks) == 3 + sweeping.QUIET_LOOKS


def test_other_processes_that_start_and_end_do_not_prolong_a_sweep_forever() -> None:
    looks: list[int] = []

    def candidates() -> list[int]:
        looks.append(0)
        return [NO_LEADER + len(looks)]

    began = time.monotonic()
    finish(Sweep(ProcessTree(NO_LEADER, MARKER), candidates))

    assert time.monotonic() - began >= sweeping.CROWDED


def test_a_machine_too_busy_to_look_does_not_end_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "CROWDED", 0.0)
    looks: list[int] = []

    def candidates() -> list[int]:
        looks.append(0)
        return [NO_LEADER + len(looks)]

    finish(Sweep(ProcessTree(NO_LEADER, MARKER), candidates))

    assert len(looks) == sweeping.CROWDED_LOOKS


# ---- what may not be signalled


@pytest.mark.skipif(os.getuid() != 0, reason="needs a process of another user")
def test_a_process_that_may_not_be_signalled_is_reported_with_its_user() -> None:
    with child("sleep", "60") as pid:
        stat = read_stat(pid)
        assert stat is not None
        other = os.fork()
        if other == 0:  # an ordinary user, who may not signal a process of root
            os.setresuid(65534, 65534, 65534)
            sweep = Sweep(ProcessTree(NO_LEADER, MARKER), list, [Found(pid, stat.start_time)])
            done = sweep.turn()
            words = [each.describe() for each in sweep.remnants.values()]
            expected = [f"pid {pid} (sleep, user root; comfysup may not signal it)"]
            os._exit(0 if (done, words) == (False, expected) else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
        assert alive(pid)
        end_orphan(pid)


async def test_sweeps_share_the_only_thread_if_no_other_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never in the event loop, which a file of /proc would block."""

    def none(_target: object, _name: str) -> None:
        raise NoThreadError

    looked: set[int] = set()

    def candidates() -> list[int]:
        looked.add(threading.get_ident())
        return []

    threads = sweeps()
    monkeypatch.setattr(executors, "start_thread", none)
    generations = [ProcessTree(NO_LEADER, f"{MARKER}{number}") for number in range(5)]
    async with bounded():
        await asyncio.gather(*(carry_out(Sweep(each, candidates), threads) for each in generations))

    assert len(looked) == 1
    assert threading.get_ident() not in looked
