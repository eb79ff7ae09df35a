"""The commands of the specification in a container, unchanged."""

import json
import re

from tests.container.conftest import Run


def test_the_direct_container_commands_of_the_spec(run: Run) -> None:
    container = run()

    first = container.as_written(
        """docker exec your-container bash -c \\
  'COMFYUI_ENVIRONMENT=comm INSTANCE_PORT=3001 INSTANCE_NAME=main /start_comfyui.sh 0'"""
    )
    second = container.as_written(
        """docker exec your-container bash -c \\
  'COMFYUI_ENVIRONMENT=aua-sp INSTANCE_PORT=3002 INSTANCE_NAME=backup /start_comfyui.sh 1'"""
    )
    status = container.as_written("docker exec your-container /stop_comfyui.sh status")
    stopped = container.as_written("docker exec your-container /stop_comfyui.sh instance 0")
    all_stopped = container.as_written("docker exec your-container /stop_comfyui.sh all")
    nothing = container.as_written("docker exec your-container /stop_comfyui.sh status")

    codes = [each.code for each in (first, second, status, stopped, all_stopped, nothing)]
    pids = [int(each.lines[-1].rpartition("PID: ")[2][:-1]) for each in (first, second)]
    assert codes == [0] * 6, (first, second, status, stopped, all_stopped, nothing)
    assert first.lines[:3] == [
        "COMFYUI: Starting ComfyUI Instance 'main' (ID: 0) on port 3001",
        "COMFYUI: Environment: comm",
        "COMFYUI: Log file: /workspace/logs/comfyui_instance_0.log",
    ]
    assert status.lines == [
        "STOP: ComfyUI Instance Status:",
        f"  Instance 0: RUNNING (PID: {pids[0]}, Port: 3001)",
        f"  Instance 1: RUNNING (PID: {pids[1]}, Port: 3002)",
    ]
    assert stopped.lines[-1] == "STOP: Instance 0 stopped"
    assert all_stopped.lines[-1] == "STOP: All ComfyUI instances stopped"
    assert nothing.lines[-1] == "  No ComfyUI instances found"


def test_the_call_of_the_python_example(run: Run) -> None:
    container = run()

    said = container.as_written(
        "docker exec your-container bash -c "
        '"COMFYUI_ENVIRONMENT=comm INSTANCE_PORT=3005 INSTANCE_NAME=comfyui-backup '
        "/start_comfyui.sh 1 '--lowvram'\""
    )

    assert said.code == 0, said
    assert container.instances()[1]["extra_args"] == ["--lowvram"]


def test_the_call_of_the_node_example(run: Run) -> None:
    container = run()
    instances = [
        {"id": 0, "port": 3001, "name": "comfyui-main", "extra_args": "", "enabled": True},
        {"id": 1, "port": 3005, "name": "comfyui-backup", "extra_args": "--lowvram"},
    ]
    configuration = json.dumps({"instances": instances}, separators=(",", ":"))

    said = container.as_written(
        f"docker exec your-container /start_comfyui_multi.sh json '{configuration}'"
    )

    assert (said.code, said.err) == (0, "")
    assert len(re.findall(r"Started \(PID: \d+\)$", said.out, re.MULTILINE)) == 2
    assert [each["state"] for each in container.instances().values()] == ["running", "running"]


def test_a_container_starts_instances_only_if_autolaunch_is_enabled(run: Run) -> None:
    quiet, launching = run(), run("--env", "DISABLE_AUTOLAUNCH=false")

    answer = quiet.ask("GET", "/api/comfyui/status")
    until_ready = launching.exec("comfysup", "start", "--all")

    assert answer[1]["instances"] == []
    assert until_ready.code == 0, until_ready
    shown = launching.ask("GET", "/api/comfyui/status")[1]["instances"]
    assert [(each["id"], each["port"], each["name"]) for each in shown] == [
        (0, 3001, "comfyui-main"),
        (1, 3005, "comfyui-backup"),
    ]


def test_an_instance_of_the_shipped_file_is_started_by_name(run: Run) -> None:
    said = run().exec("comfysup", "start", "comfyui-backup")

    assert said.code == 0, said
    assert said.out.startswith("Instance 1 'comfyui-backup' is ready on port 3005")
