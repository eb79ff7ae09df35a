import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from comfysup.config.run_location import own_part
from comfysup.linux.rundir.run_directory import RunDirectory, RunDirectoryError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "run"


def test_a_run_directory_is_private_to_its_owner(path: Path) -> None:
    run = RunDirectory.take(path)

    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "fifo").is_dir()
    assert (path / "session").is_dir()
    run.release()


def test_taking_a_directory_in_use_raises_with_the_pid(path: Path) -> None:
    run = RunDirectory.take(path)

    with pytest.raises(RunDirectoryError, match=f"pid {os.getpid()} is running there"):
        RunDirectory.take(path)

    run.release()


def test_a_released_directory_can_be_taken_again(path: Path) -> None:
    first = RunDirectory.take(path)
    first.release()

    second = RunDirectory.take(path)

    assert second.identity() == first.identity()
    second.release()


TAKE_AND_DIE = """
import os, pathlib, signal, sys
from comfysup.linux.rundir.run_directory import RunDirectory
RunDirectory.take(pathlib.Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_directory_whose_holder_was_killed_can_be_taken_again(path: Path) -> None:
    holder = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, str(path)], check=False)
    assert holder.returncode == -signal.SIGKILL

    run = RunDirectory.take(path)

    assert (path / "session").is_dir()
    run.release()


def test_a_child_process_does_not_keep_the_lock_of_its_daemon(path: Path) -> None:
    run = RunDirectory.take(path)
    with subprocess.Popen(["sleep", "60"]) as child:
        run.release()

        RunDirectory.take(path).release()
        assert child.poll() is None
        child.kill()


def test_the_identity_persists_across_daemons(path: Path) -> None:
    run = RunDirectory.take(path)
    word = run.identity()
    run.release()
    again = RunDirectory.take(path)

    assert word
    assert word == again.identity()
    again.release()


def test_two_run_directories_have_different_identities(tmp_path: Path) -> None:
    one, other = RunDirectory.take(tmp_path / "1"), RunDirectory.take(tmp_path / "2")

    assert one.identity() != other.identity()
    one.release()
    other.release()


def test_an_empty_identity_is_replaced(path: Path) -> None:
    """A full disk leaves an empty file; an empty identity would match foreign processes."""
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


def test_a_file_in_place_of_the_directory_is_refused(path: Path) -> None:
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


def test_a_second_daemon_does_not_get_in_when_the_lock_is_removed(path: Path) -> None:
    run = RunDirectory.take(path)
    shutil.rmtree(path)

    with pytest.raises(RunDirectoryError, match=f"pid {os.getpid()} is running there"):
        RunDirectory.take(path)

    run.release()


def test_removed_parts_are_recreated(path: Path) -> None:
    run = RunDirectory.take(path)
    word = run.identity()
    assert run.mend() == []

    (path / "daemon.lock").unlink()
    (path / "identity").unlink()
    (path / "fifo").rmdir()
    assert run.mend() == ["fifo", "daemon.lock", "identity"]
    shutil.rmtree(path)
    assert run.mend() == ["run", "fifo", "queue", "session", "daemon.lock", "identity"]

    assert run.mend() == []
    assert (path / "identity").read_text() == word
    run.release()
    again = RunDirectory.take(path)
    assert again.identity() == word
    again.release()


def test_a_lock_taken_by_another_daemon_raises(path: Path) -> None:
    run = RunDirectory.take(path)
    (path / "daemon.lock").unlink()
    with (path / "daemon.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        with pytest.raises(RunDirectoryError, match="pid unknown is running there"):
            run.mend()
    run.release()


def test_a_lock_that_is_a_directory_is_refused_with_its_name(path: Path) -> None:
    (path / "daemon.lock").mkdir(parents=True)
    path.chmod(0o700)

    with pytest.raises(RunDirectoryError, match=r"Is a directory \(.*daemon\.lock\)"):
        RunDirectory.take(path)


@pytest.mark.parametrize(
    ("mode", "uid", "expected"),
    [
        (0o700, os.geteuid(), "{path}"),
        (0o755, os.geteuid(), "{path}"),
        (0o777, os.geteuid(), "{path}/comfysup-{uid}"),
        (0o1777, os.geteuid(), "{path}/comfysup-{uid}"),
        (0o2775, os.geteuid(), "{path}/comfysup-{uid}"),
    ],
)
def test_a_shared_directory_has_a_subdirectory_for_the_user(
    tmp_path: Path, mode: int, uid: int, expected: str
) -> None:
    """An emptyDir of Kubernetes is open to all users of the Pod."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(mode)

    own = own_part(str(path), uid)

    assert own == expected.format(path=path, uid=uid)
    RunDirectory.take(Path(own)).release()
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_directory_that_is_not_there_is_the_run_directory_itself(tmp_path: Path) -> None:
    assert own_part(str(tmp_path / "none"), 7) == str(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="the directory must be of root")
def test_the_default_directory_of_another_user_has_its_uid(tmp_path: Path) -> None:
    assert own_part(str(tmp_path), 1000) == f"{tmp_path}/comfysup-1000"
