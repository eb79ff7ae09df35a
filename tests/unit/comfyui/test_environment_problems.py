"""Problems and notes of environments."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comfysup.comfyui.environment.workspace import Environments
from comfysup.supervision.protocols import RefusedError
from tests.unit.comfyui.surveying import survey_all


def remove_main(path: Path) -> str:
    (path / "main.py").unlink()
    return f"cannot use {path}/main.py: No such file or directory"


def make_main_a_directory(path: Path) -> str:
    (path / "main.py").unlink()
    (path / "main.py").mkdir()
    return f"cannot use {path}/main.py: Is a directory"


def remove_python(path: Path) -> str:
    (path / "venv/bin/python").unlink()
    return f"cannot use {path}/venv/bin/python: No such file or directory"


def forbid_python(path: Path) -> str:
    (path / "venv/bin/python").chmod(0o644)
    return f"{path}/venv/bin/python is not executable"


def make_python_a_directory(path: Path) -> str:
    (path / "venv/bin/python").unlink()
    (path / "venv/bin/python").mkdir()
    return f"{path}/venv/bin/python is not a file"


def unlink_base_python(path: Path) -> str:
    (path / "venv/bin/python").unlink()
    (path / "venv/bin/python").symlink_to("/gone/python3.9")
    return f"{path}/venv/bin/python points to /gone/python3.9, which cannot be used"


def loop_python(path: Path) -> str:
    (path / "venv/bin/python").unlink()
    (path / "venv/bin/python").symlink_to("python")
    return "Too many levels of symbolic links"


@pytest.mark.parametrize(
    "damage",
    [
        remove_main,
        make_main_a_directory,
        remove_python,
        forbid_python,
        make_python_a_directory,
        unlink_base_python,
        loop_python,
    ],
)
def test_each_defect_of_an_environment_is_a_problem_that_names_the_path(
    workspace: Path, damage: Callable[[Path], str]
) -> None:
    expected = damage(workspace / "ComfyUI-comm")
    found = Environments(workspace).survey("comm")

    assert not found.usable
    assert len(found.problems) == 1
    assert expected in found.problems[0]


def test_all_problems_are_reported_together(workspace: Path) -> None:
    remove_main(workspace / "ComfyUI-comm")
    remove_python(workspace / "ComfyUI-comm")

    assert len(Environments(workspace).survey("comm").problems) == 2


def test_a_missing_optional_file_is_a_note(workspace: Path) -> None:
    path = workspace / "ComfyUI-comm"
    (path / "models").unlink()
    (path / "custom_nodes").rmdir()
    (path / "comfy/cli_args.py").unlink()
    (path / "comfyui_version.py").unlink()
    (path / "venv/pyvenv.cfg").unlink()
    (path / "venv/lib/python3.11/site-packages/torch-2.8.0+cu128.dist-info").rmdir()
    found = Environments(workspace).survey("comm")

    assert found.usable
    assert found.notes == (
        f"cannot read {path}/comfy/cli_args.py: No such file or directory",
        f"cannot read {path}/custom_nodes: No such file or directory",
        f"{path}/models does not exist",
        f"no torch in {path}/venv",
    )
    assert (found.comfyui_version, found.python_version, found.torch_version) == (None,) * 3
    assert found.flags == frozenset()


def test_unshared_models_and_a_dangling_link_are_notes(workspace: Path) -> None:
    models = workspace / "ComfyUI-comm" / "models"
    models.unlink()
    models.symlink_to("/gone")
    dangling = Environments(workspace).survey("comm")
    models.unlink()
    models.mkdir()
    own = Environments(workspace).survey("comm")

    assert dangling.models_link == "/gone"
    assert dangling.notes == (f"{models} points to /gone, which is not a directory",)
    assert own.models_link is None
    assert own.notes == (f"{models} is not a link: its models are not shared",)


def test_a_cli_args_that_cannot_be_parsed_is_a_note(workspace: Path) -> None:
    cli_args = workspace / "ComfyUI-comm/comfy/cli_args.py"
    too_deep_to_parse, too_deep_to_convert = b"x = " + b"-" * 50_000, b"x = " + b"1+" * 50_000
    for text in (b"def (:", b"\xff\xfe", b"x = 1\0", too_deep_to_parse, too_deep_to_convert + b"1"):
        cli_args.write_bytes(text)
        found = Environments(workspace).survey("comm")

        assert found.usable
        assert found.notes[0].startswith(f"cannot parse {cli_args}: ")


def test_a_dangling_link_is_an_unusable_environment(workspace: Path) -> None:
    (workspace / "ComfyUI-moved").symlink_to("/gone/ComfyUI")
    found = survey_all(workspace)[1]
    with pytest.raises(RefusedError) as refused:
        Environments(workspace).find("moved")

    reason = f"{workspace}/ComfyUI-moved points to /gone/ComfyUI, which does not exist"
    assert (found.name, found.usable, found.problems) == ("moved", False, (reason,))
    assert reason in str(refused.value)


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_failed_mount_is_reported_with_its_error(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    gone = workspace / "ComfyUI-gone"
    gone.mkdir()
    stat = Path.stat

    def fails(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == gone:
            raise OSError(number, os.strerror(number))
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", fails)
    found = survey_all(workspace)[1]
    with pytest.raises(RefusedError) as refused:
        Environments(workspace).find("gone")

    reason = f"{gone} cannot be read: {os.strerror(number)}"
    assert (found.name, found.problems) == ("gone", (reason,))
    assert reason in str(refused.value)


def test_a_venv_that_was_made_for_another_python_is_a_problem(workspace: Path) -> None:
    venv = workspace / "ComfyUI-comm" / "venv"
    shutil.rmtree(venv / "lib", ignore_errors=True)
    (venv / "lib" / "python3.9" / "site-packages").mkdir(parents=True)
    python = workspace / "python3.12"
    python.touch(mode=0o755)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(python)
    found = Environments(workspace).survey("comm")
    (venv / "lib" / "python3.12" / "site-packages").mkdir(parents=True)

    (problem,) = found.problems
    assert problem.startswith(f"{venv} was made for another Python: ")
    assert problem.endswith(f" are for 3.9, {venv}/bin/python is {python}")
    assert Environments(workspace).survey("comm").usable


@pytest.mark.parametrize("name", [".venv", "env"])
def test_a_virtual_environment_with_another_name_is_reported(workspace: Path, name: str) -> None:
    comm = workspace / "ComfyUI-comm"
    (comm / "venv").rename(comm / name)

    (problem,) = Environments(workspace).survey("comm").problems

    assert problem.endswith(f"; there is {comm / name}: `ln -s {name} {comm}/venv`")


def test_the_python_version_of_a_conda_environment_is_read(workspace: Path) -> None:
    venv = workspace / "ComfyUI-comm" / "venv"
    (venv / "pyvenv.cfg").unlink(missing_ok=True)
    (venv / "conda-meta").mkdir()
    (venv / "conda-meta" / "python-3.11.9-h955ad1f_0_cpython.json").touch()

    assert Environments(workspace).survey("comm").python_version == "3.11.9"


def test_an_environment_that_cannot_be_written_to_is_noted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    found = Environments(workspace).survey("comm")

    assert found.usable
    assert any(note.startswith(f"cannot write to {found.path}: ") for note in found.notes)


@pytest.mark.skipif(os.getuid() == 0, reason="root may look into everything")
def test_an_environment_without_permission_is_a_problem(workspace: Path) -> None:
    path = workspace / "ComfyUI-comm"
    path.chmod(0o000)
    found = Environments(workspace).survey("comm")
    path.chmod(0o755)

    assert "Permission denied" in found.problems[0]


def test_a_closed_environment_is_unusable_with_the_reason(workspace: Path) -> None:
    environments = Environments(workspace)

    with environments.closed("comm", "its models are being linked"):
        closed = environments.survey("comm")

    assert closed.problems == ("cannot use 'comm' now: its models are being linked",)
    assert environments.survey("comm").usable
