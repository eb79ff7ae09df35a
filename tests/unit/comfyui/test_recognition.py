from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfysup.comfyui.command import InheritedEnv, Recognised, build_command, recognise
from comfysup.comfyui.environment.workspace import Environments
from comfysup.model.environment import Environment
from comfysup.model.spec import InstanceSpec

SPEC = InstanceSpec(id=3, name="main", environment="comm", port=3004)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ARGUMENTS = st.lists(WORDS | st.sampled_from(["--lowvram", "--cpu", "--verbose", ""]))
OWN = {"--listen", "--port", "--temp-directory", "--database-url"}


@pytest.fixture
def environment(workspace: Path) -> Environment:
    return Environments(workspace).find("comm")


def seen(environment: Environment, spec: InstanceSpec, gpu: str | None) -> Recognised | None:
    """Return the spec that is recognised from the process of a spec."""
    around = InheritedEnv({"PATH": "/bin"})
    command = build_command(environment, spec, around, session=Path("/run/s/3"), gpu=gpu)
    return recognise(command.argv, command.cwd, command.env)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    port=st.integers(1, 65535),
    extra_args=ARGUMENTS.filter(lambda words: not OWN & set(words[:1])),
    gpu=st.none() | st.sampled_from(["", "0", "0,1"]),
)
def test_a_command_of_build_command_is_recognised(
    environment: Environment, port: int, extra_args: list[str], gpu: str | None
) -> None:
    spec = replace(SPEC, port=port, extra_args=tuple(extra_args))

    assert Recognised("comm", port, spec.extra_args, gpu) == seen(environment, spec, gpu)


def test_a_command_for_an_old_environment_is_recognised(workspace: Path) -> None:
    (workspace / "ComfyUI-comm" / "comfy" / "cli_args.py").write_text("")
    old = Environments(workspace).find("comm")
    spec = replace(SPEC, extra_args=("--lowvram",))

    assert Recognised("comm", 3004, ("--lowvram",), None) == seen(old, spec, None)


def test_a_gpu_inherited_from_the_daemon_is_not_part_of_the_spec(environment: Environment) -> None:
    around = InheritedEnv({"CUDA_VISIBLE_DEVICES": "1"})
    command = build_command(environment, SPEC, around, session=Path("/s"), gpu=None)
    found = recognise(command.argv, command.cwd, command.env)

    assert found is not None
    assert found.gpu is None


@pytest.mark.parametrize(
    ("argv", "cwd"),
    [
        (["python", "main.py", "--port", "1"], "/workspace/other"),
        (["python", "main.py", "--port", "x"], "/workspace/ComfyUI-comm"),
        (["python", "main.py", "--port"], "/workspace/ComfyUI-comm"),
        (["python", "main.py", "--cpu", "--port", "1"], "/workspace/ComfyUI-comm"),
        (["python"], "/workspace/ComfyUI-comm"),
        ([], "/workspace/ComfyUI-comm"),
    ],
    ids=["elsewhere", "no number", "no value", "by hand", "no script", "nothing"],
)
def test_a_foreign_command_is_not_recognised(argv: list[str], cwd: str) -> None:
    assert recognise(argv, Path(cwd), {}) is None
