from pathlib import Path

import pytest

from comfysup.linux.rundir.pid_file import PidFile


def test_a_pid_file_contains_the_pid_on_one_line(tmp_path: Path) -> None:
    PidFile(tmp_path / "made" / "for it", 3, 4242).write()

    assert (tmp_path / "made" / "for it" / "comfyui_instance_3.pid").read_text() == "4242\n"


def test_a_pid_file_is_removed_with_its_process(tmp_path: Path) -> None:
    file = PidFile(tmp_path, 3, 4242)
    file.write()

    file.remove()

    assert not list(tmp_path.iterdir())


def test_removing_a_missing_pid_file_does_nothing(tmp_path: Path) -> None:
    PidFile(tmp_path, 3, 4242).remove()
    PidFile(tmp_path / "nowhere", 3, 4242).remove()

    assert not list(tmp_path.iterdir())


def test_the_pid_file_of_a_later_process_is_kept(tmp_path: Path) -> None:
    old, new = PidFile(tmp_path, 3, 1), PidFile(tmp_path, 3, 2)
    old.write()
    new.write()

    old.remove()

    assert (tmp_path / "comfyui_instance_3.pid").read_text() == "2\n"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"4242 and more\n"])
def test_a_pid_file_with_other_content_is_not_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "comfyui_instance_3.pid").write_bytes(content)

    PidFile(tmp_path, 3, 4242).remove()

    assert (tmp_path / "comfyui_instance_3.pid").read_bytes() == content


def test_readers_see_one_or_the_other_and_never_half(tmp_path: Path) -> None:
    PidFile(tmp_path, 3, 1).write()
    held = (tmp_path / "comfyui_instance_3.pid").open()

    PidFile(tmp_path, 3, 2).write()

    assert held.read() == "1\n"
    held.close()
