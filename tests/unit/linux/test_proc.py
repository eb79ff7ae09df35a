import os
import subprocess
import threading
from pathlib import Path

import pytest

from comfysup.linux.process import proc
from tests.unit.linux.children import child, end, shell, spawn, wait_ended


def test_a_stat_contains_the_parent_group_and_session() -> None:
    stat = proc.read_stat(os.getpid())

    assert stat is not None
    assert (os.getppid(), os.getpgrp(), os.getsid(0)) == (stat.parent, stat.group, stat.session)
    assert not stat.ended


def test_a_zombie_has_ended() -> None:
    pid = shell("exit 0")
    wait_ended(pid)

    stat = proc.read_stat(pid)

    assert stat is not None
    assert stat.ended
    end(pid)


@pytest.mark.parametrize("name", ["a b", ") R 1 1", "((", "))) Z", "\n", "naïve"])
def test_an_unusual_program_name_is_parsed(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.symlink_to("/bin/sleep")

    with child(str(program), "60") as pid:
        stat = proc.read_stat(pid)

    assert stat is not None
    assert os.getpid() == stat.parent
    assert not stat.ended


def test_a_later_process_with_a_pid_has_a_later_start() -> None:
    own = proc.read_stat(os.getpid())
    with child("sleep", "60") as pid:
        later = proc.read_stat(pid)

    assert own is not None
    assert later is not None
    assert later.start_time > own.start_time


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_an_unused_pid_has_no_stat_no_marker_and_no_children(pid: int) -> None:
    assert proc.read_stat(pid) is None
    assert proc.read_marker(pid) is None
    assert proc.children_of(pid) == []


def test_a_marker_is_read_from_the_initial_environment() -> None:
    with child("sleep", "60", COMFYSUP_MARKER="a:0:1") as pid:
        assert proc.read_marker(pid) == "a:0:1"


def test_a_variable_that_only_begins_or_ends_like_the_marker_is_none() -> None:
    variables = {"COMFYSUP_MARKER_2": "x", "MY_COMFYSUP_MARKER": "y", "Z": "COMFYSUP_MARKER=z"}
    with child("sleep", "60", **variables) as pid:
        assert proc.read_marker(pid) is None


def test_a_marker_with_odd_bytes_is_read_with_replacements() -> None:
    with child("sleep", "60", COMFYSUP_MARKER="a\udcff") as pid:
        assert proc.read_marker(pid) == "a�"


def test_the_marker_of_a_process_is_readable_during_execve(tmp_path: Path) -> None:
    """Its variables are missing during execve: one read in ten finds none."""
    script = tmp_path / "again"
    script.write_text('exec sh "$0"\n')
    environment = {**os.environ, proc.MARKER: "found"}

    with subprocess.Popen(["sh", script], env=environment) as process:
        seen = {proc.read_marker(process.pid) for _ in range(1000)}
        process.kill()

    assert seen == {"found"}


def test_a_process_without_variables_is_not_waited_for() -> None:
    with subprocess.Popen(["sleep", "60"], env={}) as process:
        while (stat := proc.read_stat(process.pid)) and stat.environment_size != 0:
            pass

        assert stat is not None
        assert stat.has_no_environment
        assert proc.read_marker(process.pid) is None
        process.kill()


def test_a_zombie_has_no_marker() -> None:
    pid = shell("exit 0", COMFYSUP_MARKER="a:0:1")
    wait_ended(pid)

    assert proc.read_marker(pid) is None
    end(pid)


def test_children_are_seen_dead_or_alive() -> None:
    dead = shell("exit 0")
    wait_ended(dead)
    with child("sleep", "60") as living:
        assert {dead, living} <= set(proc.children_of(os.getpid()))
    end(dead)

    assert not {dead, living} & set(proc.children_of(os.getpid()))


def test_the_children_of_other_threads_are_seen() -> None:
    """/proc lists a child under the thread that created it."""
    made: list[int] = []
    finish = threading.Event()

    def make() -> None:
        made.append(spawn("sleep", "60"))
        finish.wait()

    thread = threading.Thread(target=make)
    thread.start()
    while not made:
        thread.join(0.001)

    assert made[0] in proc.children_of(os.getpid())
    finish.set()
    thread.join()
    end(made[0])


def test_all_processes_are_listed() -> None:
    with child("sleep", "60") as pid:
        assert {1, os.getpid(), pid} <= set(proc.all_pids())


def test_the_output_of_a_process_is_found_without_its_path_or_access_to_other_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, file = tmp_path / "0.1", tmp_path / "file"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    fifo.unlink()
    with (
        file.open("wb") as other,
        subprocess.Popen(["sleep", "60"], stdout=end) as ours,
        subprocess.Popen(["sleep", "60"], stdout=other) as redirected,
    ):
        os.close(end)
        stats = {each.pid: proc.read_stat(each.pid) for each in (ours, redirected)}
        start_times = {pid: stat.start_time for pid, stat in stats.items() if stat}

        found = proc.output_of(ours.pid, start_times[ours.pid], fifo)
        assert found == Path(f"/proc/{ours.pid}/fd/1")
        assert proc.output_of(ours.pid, 1, fifo) is None
        asked: list[object] = []
        monkeypatch.setattr(Path, "is_fifo", asked.append)
        for name in (fifo, tmp_path / "else" / "file"):  # the same name elsewhere is another's
            assert proc.output_of(redirected.pid, start_times[redirected.pid], name) is None
        assert asked == []
        ours.kill()
        redirected.kill()
