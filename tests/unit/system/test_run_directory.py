import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfysup.system.run_directory import RunDirectory, RunDirectoryError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "run"


def test_it_is_made_for_its_owner_alone(path: Path) -> None:
    run = RunDirectory.take(path)

    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "fifo").is_dir()
    assert (path / "session").is_dir()
    run.release()


def test_a_second_daemon_is_told_who_holds_it(path: Path) -> None:
    run = RunDirectory.take(path)

    with pytest.raises(RunDirectoryError, match=f"pid {os.getpid()} is running there"):
        RunDirectory.take(path)

    run.release()


def test_it_is_free_again_once_released(path: Path) -> None:
    RunDirectory.take(path).release()

    RunDirectory.take(path).release()


TAKE_AND_DIE = """
import os, pathlib, signal, sys
from comfysup.system.run_directory import RunDirectory
RunDirectory.take(pathlib.Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_free_again_when_its_holder_was_killed(path: Path) -> None:
    subprocess.run([sys.executable, "-c", TAKE_AND_DIE, str(path)], check=False)

    RunDirectory.take(path).release()


def test_a_child_does_not_hold_it_for_a_dead_daemon(path: Path) -> None:
    run = RunDirectory.take(path)
    with subprocess.Popen(["sleep", "60"]) as child:
        run.release()

        RunDirectory.take(path).release()
        child.kill()


def test_its_word_lasts_from_one_daemon_to_the_next(path: Path) -> None:
    run = RunDirectory.take(path)
    word = run.identity()
    run.release()
    again = RunDirectory.take(path)

    assert word
    assert word == again.identity()
    again.release()


def test_two_run_directories_have_different_words(tmp_path: Path) -> None:
    one, other = RunDirectory.take(tmp_path / "1"), RunDirectory.take(tmp_path / "2")

    assert one.identity() != other.identity()
    one.release()
    other.release()


def test_a_word_that_was_cut_off_is_made_anew(path: Path) -> None:
    """A full disk leaves an empty file; an empty word would claim the processes of others."""
    path.mkdir(parents=True, mode=0o700)
    (path / "identity").write_bytes(b"")

    run = RunDirectory.take(path)

    assert len(run.identity()) == 16
    run.release()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_is_refused(path: Path, mode: int) -> None:
    path.mkdir(parents=True)
    path.chmod(mode)

    with pytest.raises(RunDirectoryError, match="chmod 700"):
        RunDirectory.take(path)


def test_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path)

    with pytest.raises(RunDirectoryError, match="not a directory"):
        RunDirectory.take(path)


def test_a_file_in_its_place_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    with pytest.raises(RunDirectoryError, match="cannot use"):
        RunDirectory.take(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    os.chown(path, 12345, 12345)

    with pytest.raises(RunDirectoryError, match="belongs to user 12345"):
        RunDirectory.take(path)


def test_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RunDirectoryError, match="cannot use"):
        RunDirectory.take(tmp_path / "file" / "run")
