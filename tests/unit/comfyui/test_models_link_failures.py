"""Linking of the models that fails or is interrupted: no file is lost."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from comfysup.comfyui.environment import moving
from tests.unit.comfyui.layouts import Place, a_real_directory, check, files_in_both


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_read_only_or_full_file_system_leaves_all_files_unchanged(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(moving, "_rename", failing(number))

    report = check(place, a_real_directory)

    assert os.strerror(number) in {each.reason for each in report.left}
    assert not report.linked


def test_insufficient_space_is_detected_before_copying(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.shared = place.elsewhere / "shared-models"
    full = shutil.disk_usage("/")._replace(free=3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

    report = check(place, a_real_directory)

    assert "not enough disk space" in {each.reason for each in report.left}


def test_a_copy_that_differs_is_discarded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.shared = place.elsewhere / "shared-models"
    copy2 = shutil.copy2

    def broken(source: Path, target: Path) -> None:
        copy2(source, target)
        with target.open("r+b") as file:
            file.write(b"\0")

    monkeypatch.setattr(shutil, "copy2", broken)

    report = check(place, a_real_directory)

    assert "it changed while it was copied" in {each.reason for each in report.left}
    assert not list(place.shared.rglob(".*"))


def test_an_interrupted_copy_is_removed_by_the_next_link(place: Place) -> None:
    place.shared = place.elsewhere / "shared-models"
    a_real_directory(place)
    dying = multiprocessing.get_context("fork").Process(target=link_and_die, args=(place,))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    (draft,) = place.shared.rglob(".*.comfysup-*")

    report = place.link()

    assert report.linked
    assert f"removed {draft}, an unfinished copy" in report.done
    assert not list(place.shared.rglob(".*"))


def link_and_die(place: Place) -> None:
    """Be killed in the middle of the first copy."""

    def die(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    shutil.copy2 = die  # type: ignore[assignment]
    place.link()


def test_a_copy_still_written_by_another_process_is_kept(place: Place) -> None:
    place.shared = place.elsewhere / "shared-models"
    a_real_directory(place)
    place.shared.mkdir()
    held = place.shared / ".other.comfysup-01234567"
    foreign = place.shared / ".other.comfysup-0123"
    foreign.write_text("not ours")
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = place.link()

    assert report.linked
    assert held.exists()
    assert foreign.exists()


def test_without_hard_links_no_file_is_overwritten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))

    assert check(place, files_in_both).linked
