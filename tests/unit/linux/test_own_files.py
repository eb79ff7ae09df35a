"""Planted files in place of logs and PID files are neither written nor shown."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comfysup.linux.rundir.own_files import ForeignFileError, create_own, open_own
from comfysup.linux.rundir.pid_file import PidFile
from comfysup.logs.cursor import Cursor
from comfysup.logs.files import LogFiles, Rotation
from comfysup.logs.writer import LogWriter, PipePeeker

STRANGER = 12_345
SECRET = b"root's own\n"

Lay = Callable[[Path, Path], None]
"""Puts something at a path by which root would reach another file."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("made by root"))


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def fifo(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


def file_of_another(path: Path, _victim: Path) -> None:
    path.write_bytes(SECRET)
    os.chown(path, STRANGER, STRANGER)


def device(path: Path, _victim: Path) -> None:
    path.symlink_to("/dev/zero")


LAID = [
    link,
    dangling_link,
    hard_link,
    fifo,
    device,
    pytest.param(file_of_another, marks=as_root),
]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory that every user can write to."""
    directory = tmp_path / "logs"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_bytes(SECRET)
    return file


def write(path: Path, data: bytes, rotation: Rotation) -> tuple[list[str | None], LogWriter]:
    """Move data into a log; return what was reported, and the writer."""
    reported: list[str | None] = []
    peeker = PipePeeker()
    writer = LogWriter(LogFiles(path), rotation, peeker, lambda _file, said: reported.append(said))
    reader, end = os.pipe2(os.O_NONBLOCK)
    os.write(end, data)
    os.close(end)
    while writer.move(reader):
        pass
    writer.close()
    os.close(reader)
    peeker.close()
    return reported, writer


def history(path: Path) -> bytes:
    cursor = Cursor(LogFiles(path), lambda: None)
    try:
        cursor.seek_lines(1_000)
        found = b""
        while piece := cursor.read().data:
            found += piece
        return found
    finally:
        cursor.close()


@pytest.mark.parametrize("lay", LAID)
def test_a_planted_log_is_neither_written_nor_shown(logs: Path, victim: Path, lay: Lay) -> None:
    path = logs / "comfyui_instance_0.log"
    lay(path, victim)

    reported, writer = write(path, b"a line\n", Rotation())

    assert victim.read_bytes() == SECRET
    assert not victim.with_name("made by root").exists()
    assert writer.dropped_bytes == len(b"a line\n")
    assert reported[0] is not None
    assert reported[0].startswith(f"cannot write {path}: ")
    with pytest.raises(ForeignFileError):
        history(path)


@pytest.mark.parametrize("lay", LAID)
def test_a_planted_draft_of_a_log_is_replaced(logs: Path, victim: Path, lay: Lay) -> None:
    path = logs / "comfyui_instance_0.log"
    lay(LogFiles(path).draft, victim)

    reported, _ = write(path, b"a line\n", Rotation())

    assert victim.read_bytes() == SECRET
    assert not victim.with_name("made by root").exists()
    assert (reported, path.read_bytes()) == ([], b"a line\n")
    assert not path.is_symlink()


@pytest.mark.parametrize("lay", LAID)
def test_a_planted_rotated_log_is_not_shown(logs: Path, victim: Path, lay: Lay) -> None:
    path = logs / "comfyui_instance_0.log"
    path.write_bytes(b"newest\n")
    lay(LogFiles(path).numbered(1), victim)

    assert history(path) == b"newest\n"


@pytest.mark.parametrize("lay", LAID)
def test_a_rotation_renames_a_planted_file_without_following_it(
    logs: Path, victim: Path, lay: Lay
) -> None:
    path = logs / "comfyui_instance_0.log"
    lay(LogFiles(path).numbered(1), victim)

    write(path, b"x" * 99 + b"\n" + b"y" * 99 + b"\n", Rotation(max_bytes=100, keep=3))

    assert victim.read_bytes() == SECRET
    assert history(path).startswith(b"x" * 99)


@pytest.mark.parametrize("lay", LAID)
def test_a_planted_pid_file_is_replaced(logs: Path, victim: Path, lay: Lay) -> None:
    path = logs / "comfyui_instance_0.pid"
    lay(path, victim)
    lay(path.with_suffix(f".pid.{os.getpid()}"), victim)
    file = PidFile(logs, 0, 4242)

    file.remove()
    assert os.path.lexists(path)
    file.write()

    assert victim.read_bytes() == SECRET
    assert (path.is_symlink(), path.read_text()) == (False, "4242\n")


def test_a_hard_link_in_a_private_directory_is_accepted(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "backup").hardlink_to(victim)

    descriptor = open_own(victim, os.O_RDWR)

    assert os.path.samestat(os.fstat(descriptor), victim.stat())
    os.close(descriptor)


def test_a_directory_link_of_the_same_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "logs").symlink_to("volume")

    write(tmp_path / "logs" / "comfyui_instance_0.log", b"a line\n", Rotation())
    PidFile(tmp_path / "logs", 0, 1).write()

    assert (tmp_path / "volume" / "comfyui_instance_0.log").read_bytes() == b"a line\n"
    assert (tmp_path / "volume" / "comfyui_instance_0.pid").read_text() == "1\n"


@as_root
def test_a_directory_link_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "logs").symlink_to("etc")
    os.chown(tmp_path / "logs", STRANGER, STRANGER, follow_symlinks=False)
    path = tmp_path / "logs" / "deeper" / "comfyui_instance_0.log"

    reported, _ = write(path, b"a line\n", Rotation())

    assert reported[0] is not None
    assert f"{tmp_path}/logs is a link that user {STRANGER} created" in reported[0]
    with pytest.raises(ForeignFileError):
        PidFile(path.parent, 0, 1).write()
    assert list((tmp_path / "etc").iterdir()) == []


@as_root
def test_a_directory_of_another_user_is_logged_once(logs: Path) -> None:
    os.chown(logs, STRANGER, STRANGER)

    with capture_logs() as said:
        write(logs / "comfyui_instance_0.log", b"x" * 99 + b"\n", Rotation(max_bytes=20))

    warned = [each for each in said if each["event"] == "log.directory_of_another_user"]
    assert [each["user"] for each in warned] == [STRANGER]


@as_root
def test_the_single_owner_of_a_mount_counts_as_the_own_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SMB, 9p and squashed NFS: a newly created file shows the owner."""
    path = tmp_path / "comfyui_instance_0.log"
    path.write_bytes(b"before\n")
    os.chown(path, STRANGER, STRANGER)
    monkeypatch.setattr(
        "comfysup.linux.rundir.own_files._owner_of_new", lambda _directory: STRANGER
    )

    reported, _ = write(path, b"a line\n", Rotation())

    assert (reported, path.read_bytes()) == ([], b"before\na line\n")


def test_the_check_of_the_owner_of_new_files_leaves_no_file(tmp_path: Path) -> None:
    os.close(create_own(tmp_path / "made" / "file", os.O_WRONLY, 0o600))
    with pytest.raises(OSError, match="not a regular file"):
        open_own(tmp_path / "made", os.O_RDONLY)

    assert [each.name for each in (tmp_path / "made").iterdir()] == ["file"]
