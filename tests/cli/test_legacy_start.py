"""`/start_comfyui.sh`: the lines that scripts read."""

import pytest

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, Program


async def test_a_start_prints_the_lines_of_the_script(daemon: Daemon, shell: Shell) -> None:
    port = daemon.ports.reserve()

    said = await shell.legacy(
        "start", "0", "", COMFYUI_ENVIRONMENT="comm", INSTANCE_PORT=port, INSTANCE_NAME="main"
    )

    pid = (await daemon.api.show(0))["pid"]
    assert (said.code, said.err) == (0, "")
    assert said.lines == [
        f"COMFYUI: Starting ComfyUI Instance 'main' (ID: 0) on port {port}",
        "COMFYUI: Environment: comm",
        f"COMFYUI: Log file: {daemon.log_dir}/comfyui_instance_0.log",
        f"COMFYUI: ComfyUI Instance 'main' (ID: 0) Started (PID: {pid})",
    ]


async def test_missing_variables_have_the_defaults_of_the_script(
    daemon: Daemon, shell: Shell
) -> None:
    base = daemon.ports.reserve()

    said = await shell.legacy("start", COMFYUI_BASE_PORT=base)

    assert said.code == 0, said
    shown = await daemon.api.show(0)
    assert (shown["name"], shown["port"], shown["environment"]) == ("instance_0", base, "comm")


async def test_arguments_are_split_and_never_run(daemon: Daemon, shell: Shell) -> None:
    said = await shell.legacy(
        "start", "1", "--lowvram --preview-method '$(id)'", INSTANCE_PORT=daemon.ports.reserve()
    )

    assert said.code == 0, said
    shown = await daemon.api.show(1)
    assert shown["extra_args"] == ["--lowvram", "--preview-method", "$(id)"]


async def test_a_failure_prints_the_reason_on_stderr(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "broken", "echo its last words >&2; exit 1")

    said = await shell.legacy(
        "start", "0", COMFYUI_ENVIRONMENT="broken", INSTANCE_PORT=daemon.ports.reserve()
    )

    assert said.code == 1
    assert "Started" not in said.out
    assert said.err.startswith("COMFYUI: ERROR - ")
    assert "its last words" in said.err


@pytest.mark.timeout(90)
async def test_an_instance_still_loading_after_25_seconds_is_reported_as_started(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "slow", NEVER_READY)

    said = await shell.legacy(
        "start", "0", COMFYUI_ENVIRONMENT="slow", INSTANCE_PORT=daemon.ports.reserve()
    )

    pid = (await daemon.api.show(0))["pid"]
    assert said.code == 0
    assert said.lines[-1].endswith(f"'instance_0' (ID: 0) Started (PID: {pid}), still loading")


async def test_the_status_of_the_start_script(daemon: Daemon, shell: Shell) -> None:
    nothing = await shell.legacy("start", "status")
    port = daemon.ports.reserve()
    await daemon.api.start(0, port)
    pid = (await daemon.api.show(0))["pid"]
    running = await shell.legacy("start", "status")

    heading = ["=== ComfyUI Instance Status ===", ""]
    assert nothing.lines == [*heading, "No ComfyUI instances are currently running."]
    assert running.lines == [
        *heading,
        f"Instance 0: Running (PID: {pid}, Port: {port}, Environment: comm)",
    ]
    assert (nothing.code, running.code) == (0, 0)


async def test_a_status_with_a_failing_instance_exits_with_1(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "broken", "exit 1")
    await daemon.api.start(0, daemon.ports.reserve(), environment="broken")

    said = await shell.legacy("start", "status")

    assert said.code == 1
    assert said.lines[2].startswith("Instance 0: Backoff (Port: ")
    assert said.lines[2].endswith("exited unexpectedly with code 1")


async def test_an_unknown_argument_starts_nothing(daemon: Daemon, shell: Shell) -> None:
    for words in (["frob"], ["-1"], ["0x1"], ["all", "0"]):
        said = await shell.legacy("start", *words)

        assert said.code == 2, words
        assert "usage: /start_comfyui.sh" in said.err
    assert await daemon.api.show_all() == []
    assert (await shell.legacy("start", "help")).code == 0
