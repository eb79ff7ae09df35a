import errno
import os
from pathlib import Path

import pytest

from comfysup.linux.rundir.state_file import StateFile


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state.json")


def problem(file: StateFile) -> str | None:
    return file.problem


def test_the_last_written_content_is_read(file: StateFile) -> None:
    assert file.write(b"longer than the next\n" * 10_000)
    assert file.write(b"short")

    assert file.read() == b"short"
    assert file.problem is None


def test_nothing_is_read_where_nothing_was_written(file: StateFile) -> None:
    assert file.read() is None


def test_a_state_file_is_readable_only_by_its_owner(file: StateFile) -> None:
    file.write(b"{}")

    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_state_file_is_replaced_and_never_modified(file: StateFile) -> None:
    """A kill in the middle of a write leaves the content before it."""
    file.write(b"old")
    held = file.path.open("rb")
    file.write(b"new")

    assert held.read() == b"old"
    held.close()


def test_a_file_system_without_renameat2_exchange_is_supported(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.linux.rundir.state_file.RENAME_EXCHANGE", 1 << 30)  # EINVAL

    for content in (b"first", b"second, longer", b"third"):
        assert file.write(content)
        assert file.read() == content


def test_a_draft_of_a_daemon_that_died_is_no_content(file: StateFile) -> None:
    file.write(b"whole")
    file.path.with_suffix(".draft").write_bytes(b"ha")

    assert file.read() == b"whole"
    assert file.write(b"next")
    assert file.read() == b"next"


def no_space(*_arguments: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_the_old_content_and_is_reported_until_a_write_succeeds(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(b"old")
    monkeypatch.setattr("comfysup.linux.rundir.state_file.os.write", no_space)

    assert not file.write(b"new")
    assert file.read() == b"old"
    assert str(file.path) in (problem(file) or "")
    assert "No space left" in (problem(file) or "")

    monkeypatch.undo()
    assert file.write(b"new")
    assert problem(file) is None
    assert file.read() == b"new"


def test_a_link_is_not_followed(file: StateFile, tmp_path: Path) -> None:
    """Another user may have planted it in a shared directory."""
    target = tmp_path / "target"
    target.write_bytes(b"as it was")
    file.path.with_suffix(".draft").symlink_to(target)
    (tmp_path / "other.json").symlink_to(target)

    assert not file.write(b"x")
    with pytest.raises(OSError, match="symbolic links"):
        StateFile(tmp_path / "other.json").read()
    assert target.read_bytes() == b"as it was"


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "gone" / "state.json")

    assert not file.write(b"x")
    assert file.problem is not None


def test_an_unreadable_state_file_raises(tmp_path: Path) -> None:
    file = StateFile(tmp_path)

    with pytest.raises(OSError, match=r".*") as caught:
        file.read()
    assert caught.value.errno == errno.EISDIR


def test_forget_removes_all_files(file: StateFile) -> None:
    file.write(b"x")
    file.write(b"y")
    file.forget()
    file.forget()

    assert file.read() is None
    assert not list(file.path.parent.iterdir())


def test_put_aside_keeps_the_content_and_leaves_no_state(file: StateFile) -> None:
    file.write(b"\xff broken")

    aside = file.put_aside()

    assert aside.read_bytes() == b"\xff broken"
    assert file.read() is None


def test_a_fifo_as_the_draft_fails_without_blocking(file: StateFile) -> None:
    draft = file.path.with_suffix(".draft")
    os.mkfifo(draft)
    with_reader = os.open(draft, os.O_RDONLY | os.O_NONBLOCK)

    assert not file.write(b"new")
    os.close(with_reader)
    assert not file.write(b"new")
    assert problem(file) is not None
    draft.unlink()
    assert file.write(b"new")
    assert file.read() == b"new"
