import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comfysup.linux.process.proc import all_pids, living_thread, read_stat
from comfysup.linux.process.sweep import Sweep
from comfysup.linux.process.tree import (
    Found,
    ProcessTree,
    descendants_of,
    has_for_stdout,
    holds,
    identity_of,
    oldest_of,
)
from tests.unit.linux.children import MARKER, child, end_orphan, wait_ended

KINDS = {
    "child": "sleep 60 & echo $!",
    "grandchild": "sh -c 'sleep 60 & echo $!; wait' &",
    "own group": "timeout 60 sleep 60 & echo $!",
    "own session": "setsid -f sh -c 'echo $$; exec sleep 60'",
    "own session, no marker": "env -u COMFYSUP_MARKER sleep 60 & echo $!",
}
"""What a leader leaves, which says its own pid; only the last has lost the marker, and it kept
the group."""


@contextmanager
def dead_leader(script: str, marker: str = MARKER) -> Iterator[tuple[int, int]]:
    """Yield the pid of a zombie leader, and the pid that it had printed."""
    with subprocess.Popen(
        ["sh", "-c", f"{script}\nexec sleep 60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "COMFYSUP_MARKER": marker},
        text=True,
    ) as process:
        assert process.stdout is not None
        said = int(process.stdout.readline())
        process.kill()
        wait_ended(process.pid)
        try:
            yield process.pid, said
        finally:
            for each in (*descendants_of(said), Found(said, 0)):
                end_orphan(each.pid)


def claims(process_tree: ProcessTree, pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and process_tree.claims(pid, stat)


@pytest.mark.parametrize("kind", KINDS)
async def test_descendants_of_a_dead_leader_are_claimed(kind: str) -> None:
    with dead_leader(KINDS[kind]) as (pid, left):
        assert claims(ProcessTree(pid, MARKER), left)


def holder_of(output: tuple[int, int]) -> Found | None:
    return oldest_of(pid for pid in all_pids() if has_for_stdout(output, pid))


HIDDEN = "setsid -f env -i sh -c 'echo $$; exec sleep 60'"
"""In a session of its own and without the marker; it still holds the output."""


def test_a_descendant_without_other_signs_is_claimed_by_its_output() -> None:
    with dead_leader(HIDDEN) as (pid, left):
        output = identity_of(Path(f"/proc/{left}/fd/1"))

        assert claims(ProcessTree(pid, MARKER, output), left)
        assert not claims(ProcessTree(pid, MARKER, (0, 0)), left)


THREAD_ALONE = """
import ctypes, os, platform, sys, threading, time
os.setsid()
print(os.getpid(), flush=True)
if sys.argv[1:] == ["quiet"]:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)
"""
"""A program whose main thread ends while another one goes on: the kernel shows a zombie."""


@pytest.mark.parametrize("signs", ["marker", "output"])
def test_a_descendant_without_a_main_thread_is_claimed_and_ended(
    tmp_path: Path, signs: str
) -> None:
    variables = "env -i" if signs == "output" else ""
    program = tmp_path / "program.py"
    program.write_text(THREAD_ALONE)
    arguments = "quiet" if signs == "marker" else ""
    script = f"{variables} {sys.executable} {program} {arguments} &"
    with dead_leader(script) as (_, left):
        output = None
        while (stat := read_stat(left)) and stat.state != "Z":
            time.sleep(0.001)
        if signs == "output":
            output = identity_of(Path(f"/proc/{living_thread(left)}/fd/1"))

        assert stat is not None
        assert not stat.ended
        assert ProcessTree(2**22 + 1, MARKER, output).claims(left, stat)
        finish = Sweep(ProcessTree(2**22 + 1, MARKER, output), all_pids)
        while not finish.turn():
            pass
        assert (after := read_stat(left)) is None or after.ended


def test_a_reader_of_the_output_is_not_claimed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    with fifo.open("rb") as reader, subprocess.Popen(["cat"], stdin=reader) as looker:
        try:
            assert not claims(ProcessTree(2**22 + 1, MARKER, identity_of(fifo)), looker.pid)
            assert holder_of(identity_of(fifo)) is None
        finally:
            looker.kill()
    os.close(end)


def test_the_holder_of_an_output_is_found_before_it_shows_a_marker(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    with subprocess.Popen(["sleep", "60"], stdout=end) as holder:
        try:
            found = holder_of(identity_of(fifo))
            stat = read_stat(holder.pid)
            assert stat is not None

            assert Found(holder.pid, stat.start_time) == found
        finally:
            holder.kill()
    os.close(end)


def test_the_disk_of_another_file_is_not_asked_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unresponsive disk would block the sweep of every instance."""
    asked: list[object] = []
    with (
        (tmp_path / "file").open("wb") as file,
        subprocess.Popen(["sleep", "60"], stdout=file) as writer,
    ):
        monkeypatch.setattr(os, "stat", asked.append)

        assert not holds(writer.pid, (0, 0))
        assert holder_of((0, 0)) is None
        assert asked == []

        monkeypatch.undo()
        assert holds(writer.pid, identity_of(file.fileno()))
        writer.kill()


def test_a_group_whose_number_another_process_has_is_not_claimed() -> None:
    with dead_leader(KINDS["own session, no marker"]) as (pid, left):
        leader = read_stat(pid)
        assert leader is not None

        assert claims(ProcessTree(pid, "nobody's", started=leader.start_time), left)
        assert not claims(ProcessTree(pid, "nobody's", started=leader.start_time - 1), left)


def test_a_process_tree_is_found_although_members_hide_their_markers() -> None:
    script = "env -i setsid sh -c 'sleep 60 > /dev/null 2>&1 & wait' > /dev/null 2>&1 & wait"
    with child("sh", "-c", script) as pid:
        while len(found := descendants_of(pid)) < 2:
            pass

        assert {os.getsid(each.pid) for each in found} != {os.getsid(pid)}
        for each in found:
            end_orphan(each.pid)


def test_another_generation_is_not_claimed() -> None:
    with dead_leader(KINDS["own session"], f"{MARKER}0") as (_, left):
        assert claims(ProcessTree(2**22 + 1, f"{MARKER}0"), left)
        assert not claims(ProcessTree(2**22 + 1, MARKER), left)


def test_a_foreign_process_is_not_claimed() -> None:
    with child("sleep", "60") as pid:
        assert not claims(ProcessTree(2**22 + 1, MARKER), pid)


def test_a_pid_with_another_start_time_has_ended() -> None:
    with child("sleep", "60") as pid:
        stat = read_stat(pid)
        assert stat is not None

        assert Found(pid, stat.start_time).still_there()
        assert not Found(pid, stat.start_time - 1).still_there()

    assert not Found(pid, stat.start_time).still_there()
