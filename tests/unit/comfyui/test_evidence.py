"""Evidence about an exit from the files of an environment."""

from pathlib import Path

import pytest

from comfysup.comfyui.command import InheritedEnv
from comfysup.comfyui.diagnosis.circumstances import (
    Circumstances,
    circumstances_of,
    conditions_of,
    known_at_start,
)
from comfysup.comfyui.environment.venv import interpreter_version, package_versions
from comfysup.comfyui.environment.workspace import Environments
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import RefusedError

KNOWN = Circumstances(arguments=("--cpu",))


def venv(environment: Path, *, runs: str, holds: str) -> None:
    """Let an environment run one Python and hold packages for another."""
    interpreter = environment.parent / "bin" / f"python{runs}"
    interpreter.parent.mkdir(exist_ok=True)
    interpreter.write_text("#!/bin/sh\n")
    interpreter.chmod(0o755)
    python = environment / "venv" / "bin" / "python"
    python.unlink(missing_ok=True)
    python.symlink_to(interpreter)
    (environment / "venv" / "lib" / f"python{holds}" / "site-packages").mkdir(
        parents=True, exist_ok=True
    )


def test_a_venv_has_a_running_and_an_intended_python(workspace: Path) -> None:
    environment = workspace / "ComfyUI-comm"
    venv(environment, runs="3.12", holds="3.11")
    (environment / "venv" / "pyvenv.cfg").write_text("version = 3.11.7\n")

    assert interpreter_version(environment) == "3.12"
    assert package_versions(environment) == ("3.11",)


def test_the_version_of_an_unversioned_interpreter_comes_from_pyvenv_cfg(
    workspace: Path,
) -> None:
    environment = workspace / "ComfyUI-comm"
    venv(environment, runs="", holds="3.11")
    (environment / "venv" / "pyvenv.cfg").write_text("version_info = 3.11.7.final.0\n")

    assert interpreter_version(environment) == "3.11"


def test_only_custom_nodes_named_in_the_last_lines_are_examined(workspace: Path) -> None:
    nodes = workspace / "ComfyUI-comm" / "custom_nodes"
    for name in ("named", "unnamed", "bare"):
        (nodes / name).mkdir(parents=True)
    (nodes / "named" / "requirements.txt").touch()
    (nodes / "unnamed" / "requirements.txt").touch()
    lines = [f'  File "{nodes}/named/x.py", line 1', f'  File "{nodes}/bare/x.py", line 1']

    found = circumstances_of(Environments(workspace), "comm", KNOWN, lines)

    assert found.requirements == {"named"}
    assert found.arguments == ("--cpu",)
    assert "--listen" in found.flags


def test_a_removed_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        circumstances_of(Environments(tmp_path), "comm", KNOWN, [])


def test_the_requirements_file_of_a_failed_custom_node_is_found(
    workspace: Path,
) -> None:
    node = workspace / "ComfyUI-comm" / "custom_nodes" / "x"
    node.mkdir(parents=True)
    lines = [
        f"Cannot import {node} module for custom nodes: No module named 'onnx'",
        "Import times for custom nodes:",
        f"   0.0 seconds (IMPORT FAILED): {node}",
    ]

    [without] = conditions_of(lines)
    (node / "requirements.txt").touch()
    [having] = conditions_of(lines)

    assert without.hint == "install 'onnx' into the environment's venv"
    assert having.hint.endswith(f"-m pip install -r {node}/requirements.txt")


def test_the_circumstances_of_a_start_contain_no_secret() -> None:
    environ = {"HF_TOKEN": "secret", "HF_HOME": "/cache", "CUDA_VISIBLE_DEVICES": "0"}
    spec = InstanceSpec(0, "a", "comm", 3001, ("--cpu",), env=(("TMPDIR", "/scratch"),))

    known = known_at_start(spec, InheritedEnv(environ), gpu="3")

    assert known.arguments == ("--cpu",)
    assert known.variables == {
        "CUDA_VISIBLE_DEVICES": "3",
        "HF_HOME": "/cache",
        "TMPDIR": "/scratch",
    }
