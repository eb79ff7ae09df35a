import os
from pathlib import Path

import pytest

from comfysup.comfyui.environment.workspace import Environments
from comfysup.supervision.protocols import RefusedError
from tests.unit.comfyui.conftest import CLI_ARGS, make_environment
from tests.unit.comfyui.surveying import survey_all


def test_a_complete_environment_is_usable_and_its_versions_are_read_from_files(
    workspace: Path,
) -> None:
    found = Environments(workspace).survey("comm")

    assert found.usable
    assert (found.problems, found.notes) == ((), ())
    assert (found.comfyui_version, found.python_version, found.torch_version) == (
        "0.3.64",
        "3.11.7",
        "2.8.0+cu128",
    )
    assert found.models_link == "../shared-models"
    assert "--temp-directory" in found.flags
    assert found.python == workspace / "ComfyUI-comm" / "venv" / "bin" / "python"


def test_the_paths_are_absolute_even_in_a_relative_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.parent)

    assert Environments(Path("workspace")).survey("comm").path == workspace / "ComfyUI-comm"


def test_custom_nodes_are_those_that_comfyui_would_load(workspace: Path) -> None:
    nodes = workspace / "ComfyUI-comm" / "custom_nodes"
    for directory in ("ComfyUI-Manager", "a_pack", "off.disabled", "__pycache__", ".git"):
        (nodes / directory).mkdir()
    for file in ("one.py", "off.py.disabled", "example_node.py.example", "notes.txt"):
        (nodes / file).touch()
    found = Environments(workspace).survey("comm")

    assert found.custom_nodes == ("a_pack", "ComfyUI-Manager", "one.py")


def test_the_version_without_comfyui_version_py_comes_from_pyproject(workspace: Path) -> None:
    path = workspace / "ComfyUI-comm"
    (path / "comfyui_version.py").unlink()
    (path / "pyproject.toml").write_text('[project]\nname = "ComfyUI"\nversion = "0.3.4"\n')

    assert Environments(workspace).survey("comm").comfyui_version == "0.3.4"


def test_torch_of_the_system_counts_if_the_venv_includes_system_packages(
    workspace: Path, tmp_path: Path
) -> None:
    """The scripts that comfysup replaces created their venvs like this."""
    path = workspace / "ComfyUI-comm"
    (path / "venv/lib/python3.11/site-packages/torch-2.8.0+cu128.dist-info").rmdir()
    system = tmp_path / "system"
    (system / "lib/python3.11/site-packages/torch-2.6.0.dist-info").mkdir(parents=True)
    (path / "venv/pyvenv.cfg").write_text(
        f"home = {system}/bin\ninclude-system-site-packages = true\nversion_info = 3.11.9.final.0\n"
    )
    found = Environments(workspace).survey("comm")

    assert (found.torch_version, found.python_version) == ("2.6.0", "3.11.9")


def test_flags_are_parsed_again_only_when_the_file_changed(workspace: Path) -> None:
    environments = Environments(workspace)
    first = environments.survey("comm").flags
    cli_args = workspace / "ComfyUI-comm/comfy/cli_args.py"

    assert environments.survey("comm").flags is first

    cli_args.write_text(CLI_ARGS + 'parser.add_argument("--brand-new")\n')

    assert environments.survey("comm").flags - first == {"--brand-new"}


def test_a_missing_environment_is_refused_with_its_path_and_the_existing_ones(
    workspace: Path,
) -> None:
    with pytest.raises(RefusedError) as refused:
        Environments(workspace).survey("other")

    assert refused.value.code == "unknown_environment"
    assert str(refused.value) == (
        f"there is no environment 'other': {workspace}/ComfyUI-other is not a directory "
        "(there are: comm)"
    )


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a;b", "$(id)", "a\nb", "comm\n", "comm\0", "-x", "ä"]
    + [n * "x" for n in (65, 10_000)],
)
def test_a_name_that_leaves_the_workspace_is_refused_without_file_access(
    workspace: Path, name: str
) -> None:
    with pytest.raises(RefusedError, match="is not a valid environment name") as refused:
        Environments(workspace).find(name)

    assert refused.value.code == "unknown_environment"
    assert len(str(refused.value)) < 200


def test_a_comfyui_directory_without_a_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ComfyUI").mkdir()
    (tmp_path / "ComfyUI" / "main.py").touch()

    with pytest.raises(RefusedError, match=r"has no name: `ln -s ComfyUI .*/ComfyUI-comm` gives"):
        Environments(tmp_path).find("comm")


def test_all_are_listed_by_name_usable_or_not(workspace: Path) -> None:
    make_environment(workspace, "aua-sp")
    (workspace / "ComfyUI-empty").mkdir()
    (workspace / "ComfyUI-a file").touch()
    (workspace / "ComfyUI-odd name").mkdir()
    (workspace / "other").mkdir()
    found = survey_all(workspace)

    assert [(each.name, each.usable) for each in found] == [
        ("aua-sp", True),
        ("comm", True),
        ("empty", False),
        ("odd name", False),
    ]
    assert "cannot be used as the name" in found[3].problems[0]


def test_a_missing_workspace_has_no_environments(tmp_path: Path) -> None:
    assert Environments(tmp_path / "gone").names() == []


def test_a_link_to_a_directory_is_an_environment(workspace: Path) -> None:
    (workspace / "ComfyUI-also").symlink_to("ComfyUI-comm")

    assert Environments(workspace).survey("also").usable


@pytest.mark.parametrize(
    "file",
    ["comfy/cli_args.py", "comfyui_version.py", "pyproject.toml", "venv/pyvenv.cfg", "main.py"],
)
@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_any_file_type_in_place_of_a_file_is_handled(workspace: Path, file: str, kind: str) -> None:
    """Opening a FIFO once blocked the whole daemon."""
    path = workspace / "ComfyUI-comm" / file
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()

    found = Environments(workspace).survey("comm")

    assert found.usable == (file != "main.py")
