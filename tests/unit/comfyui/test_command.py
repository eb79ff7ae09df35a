from dataclasses import replace
from pathlib import Path

import pytest

from comfysup.comfyui.command import (
    LINE_BUFFERED,
    LISTEN,
    Command,
    InheritedEnv,
    base_url,
    build_command,
)
from comfysup.comfyui.environment.workspace import Environments
from comfysup.model.environment import Environment
from comfysup.model.spec import InstanceSpec

SPEC = InstanceSpec(id=3, name="main", environment="comm", port=3004)
SESSION = Path("/run/comfysup/reboot-3")


@pytest.fixture
def environment(workspace: Path) -> Environment:
    return Environments(workspace).find("comm")


def build(
    environment: Environment,
    spec: InstanceSpec = SPEC,
    inherited_env: InheritedEnv | None = None,
    gpu: str | None = None,
) -> Command:
    around = inherited_env or InheritedEnv({"PATH": "/usr/bin:/bin"})
    return build_command(environment, spec, around, session=SESSION, gpu=gpu)


def test_the_command_has_absolute_paths_and_separate_arguments(environment: Environment) -> None:
    path = environment.path
    command = build(environment)

    assert command.argv == (
        f"{path}/venv/bin/python",
        f"{path}/main.py",
        "--listen",
        LISTEN,
        "--port",
        "3004",
        "--temp-directory",
        f"{path}/temp-instances/3",
        "--database-url",
        f"sqlite:///{path}/user/comfyui_instance_3.db",
    )
    assert command.cwd == path
    assert command.directories == (path / "user",)


def test_extra_arguments_come_last_and_unchanged(environment: Environment) -> None:
    hostile = ("--lowvram", "a b", "$(id)", "; rm -rf /", "", "x\ny", "'")
    spec = replace(SPEC, extra_args=hostile)
    command = build(environment, spec)

    assert command.argv[-7:] == hostile


def test_two_instances_of_one_environment_share_neither_temp_nor_database(
    environment: Environment,
) -> None:
    first = set(build(environment).argv)
    second = set(build(environment, replace(SPEC, id=4, port=3005)).argv)
    shared = [word for word in first & second if "temp-instances" in word or "sqlite" in word]

    assert shared == []


def test_with_another_daemon_temp_directory_and_database_contain_the_owner(
    environment: Environment,
) -> None:
    around = InheritedEnv({"PATH": "/bin"}, owner="host-8001")
    argv = build(environment, inherited_env=around).argv

    assert f"{environment.path}/temp-instances/3-host-8001" in argv
    assert f"sqlite:///{environment.path}/user/comfyui_instance_3-host-8001.db" in argv


def test_the_own_temp_directory_is_outside_the_default_one(
    environment: Environment,
) -> None:
    assert not any(word.startswith(f"{environment.path}/temp/") for word in build(environment).argv)


@pytest.mark.parametrize(
    "given",
    [
        ("--temp-directory", "/t"),
        ("--temp-directory=/t",),
        ("--temp-d=/t",),
        ("--te", "/t"),
    ],
)
def test_a_temp_directory_in_extra_args_is_not_passed_twice(
    environment: Environment, given: tuple[str, ...]
) -> None:
    argv = build(environment, replace(SPEC, extra_args=given)).argv

    assert not any("temp-instances" in word for word in argv)
    assert argv[-len(given) :] == given


def test_a_database_in_extra_args_is_not_passed_twice(environment: Environment) -> None:
    spec = replace(SPEC, extra_args=("--database-url=sqlite:///:memory:",))
    command = build(environment, spec)

    assert "--database-url" not in command.argv
    assert command.directories == ()


def test_a_flag_is_passed_only_to_a_comfyui_that_supports_it(environment: Environment) -> None:
    old = replace(environment, flags=frozenset({"--listen", "--port"}))

    assert build(old).argv[2:] == ("--listen", LISTEN, "--port", "3004")


def test_the_own_paths_follow_a_base_or_user_directory_in_extra_args(
    environment: Environment,
) -> None:
    base = build(environment, replace(SPEC, extra_args=("--base-directory", "/data")))
    user = build(environment, replace(SPEC, extra_args=("--user-directory=mine",)))

    assert "/data/temp-instances/3" in base.argv
    assert "sqlite:////data/user/comfyui_instance_3.db" in base.argv
    assert f"sqlite:///{environment.path}/mine/comfyui_instance_3.db" in user.argv
    assert base.directories == (Path("/data/user"),)
    assert user.directories == ()


def test_no_database_is_passed_if_its_path_cannot_be_written_as_a_url(
    environment: Environment,
) -> None:
    odd = replace(environment, path=Path("/work%20space/ComfyUI-comm"))

    assert "--database-url" not in build(odd).argv


def test_the_fault_handler_can_be_switched_off(environment: Environment) -> None:
    inherited = InheritedEnv({"PYTHONFAULTHANDLER": ""})

    assert build(environment, inherited_env=inherited).env["PYTHONFAULTHANDLER"] == ""


def test_the_daemons_own_variables_stay_its_own(environment: Environment) -> None:
    environ = {
        "HOME": "/root",
        "COMFYSUP_TOKEN": "secret",
        "COMFYSUP_PORT": "8001",
        "PYTHONHOME": "/daemon",
        "PYTHONPATH": "/daemon",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": "/daemon",
        "PATH": "/daemon/bin:/bin",
    }
    env = build(environment, inherited_env=InheritedEnv(environ)).env

    assert env == {
        "HOME": "/root",
        "PYTHONFAULTHANDLER": "1",
        "PATH": f"{environment.path}/venv/bin:/daemon/bin:/bin",
        "VIRTUAL_ENV": f"{environment.path}/venv",
        "PYTHONPATH": str(LINE_BUFFERED),
        "__COMFY_CLI_SESSION__": "/run/comfysup/reboot-3",
    }


def test_the_own_directory_precedes_the_pythonpath_of_the_spec(environment: Environment) -> None:
    spec = replace(SPEC, env=(("PYTHONPATH", "/a:/b"),))

    assert build(environment, spec).env["PYTHONPATH"] == f"{LINE_BUFFERED}:/a:/b"


def test_secrets_are_in_no_representation(environment: Environment) -> None:
    around = InheritedEnv({"HF_TOKEN": "hf_secret"})
    command = build(environment, inherited_env=around)

    assert "hf_secret" not in repr(command) + repr(around)


def test_a_spec_overrides_inherited_variables_but_not_the_session(environment: Environment) -> None:
    variables = {"HOME": "/mine", "PYTHONUNBUFFERED": "", "__COMFY_CLI_SESSION__": "/mine"}
    spec = replace(SPEC, env=tuple(variables.items()))
    env = build(environment, spec, InheritedEnv({"HOME": "/root"})).env

    assert env["HOME"] == "/mine"
    assert env["PYTHONUNBUFFERED"] == ""
    assert env["__COMFY_CLI_SESSION__"] == str(SESSION)


@pytest.mark.parametrize("gpu", ["0", "0,1", ""])
def test_gpus_are_numbered_by_the_bus_for_cuda_and_hip_but_filtered_once(
    environment: Environment, gpu: str
) -> None:
    inherited = {"CUDA_VISIBLE_DEVICES": "7", "ROCR_VISIBLE_DEVICES": "4,5"}
    env = build(environment, inherited_env=InheritedEnv(inherited), gpu=gpu).env

    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["CUDA_VISIBLE_DEVICES"] == env["HIP_VISIBLE_DEVICES"] == gpu
    assert env["ROCR_VISIBLE_DEVICES"] == "4,5"


def test_without_a_gpu_the_visible_devices_of_the_daemon_are_inherited(
    environment: Environment,
) -> None:
    env = build(environment, inherited_env=InheritedEnv({"CUDA_VISIBLE_DEVICES": "7"})).env

    assert env["CUDA_VISIBLE_DEVICES"] == "7"
    assert "CUDA_DEVICE_ORDER" not in env


def test_tcmalloc_is_preloaded_unless_the_spec_decides(environment: Environment) -> None:
    around = InheritedEnv({}, preload="/lib/libtcmalloc.so.4")
    without = replace(SPEC, env=(("LD_PRELOAD", ""),))

    assert build(environment, inherited_env=around).env["LD_PRELOAD"] == "/lib/libtcmalloc.so.4"
    assert build(environment, without, around).env["LD_PRELOAD"] == ""
    assert "LD_PRELOAD" not in build(environment).env


def test_an_instance_with_key_and_certificate_speaks_tls() -> None:
    half = replace(SPEC, extra_args=("--tls-keyfile", "k"))
    whole = replace(SPEC, extra_args=("--tls-keyf", "k", "--tls-certfile=c"))

    assert base_url(half) == "http://127.0.0.1:3004"
    assert base_url(whole) == "https://127.0.0.1:3004"
