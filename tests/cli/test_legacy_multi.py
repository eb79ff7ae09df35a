"""`/start_comfyui_multi.sh`: several instances in one call."""

import json
from typing import Any

from tests.cli.conftest import WriteInstances
from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program


def lines_of(started: dict[str, Any]) -> list[str]:
    what = f"ComfyUI Instance '{started['name']}' (ID: {started['id']})"
    return [
        f"COMFYUI: Starting {what} on port {started['port']}",
        "COMFYUI: Environment: comm",
        f"COMFYUI: Log file: {started['log_file']}",
        f"COMFYUI: {what} Started (PID: {started['pid']})",
    ]


async def test_a_configuration_is_started(daemon: Daemon, shell: Shell) -> None:
    """As the Node example calls it."""
    ports = [daemon.ports.reserve() for _ in range(3)]
    configuration = {
        "instances": [
            {"id": 0, "port": ports[0], "name": "main", "extra_args": "", "enabled": True},
            {"id": 1, "port": ports[1], "name": "backup", "extra_args": "--lowvram"},
            {"id": 2, "port": ports[2], "name": "off", "enabled": False},
        ]
    }

    said = await shell.legacy("multi", "json", json.dumps(configuration))

    shown = await daemon.api.show_all()
    assert (said.code, said.err) == (0, "")
    assert [each["name"] for each in shown] == ["main", "backup"]
    assert said.lines == [line for each in shown for line in lines_of(each)]


async def test_a_failed_instance_does_not_prevent_the_start_of_the_others(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "broken", "exit 1")
    good = {"id": 0, "port": daemon.ports.reserve(), "name": "good"}
    bad = {"id": 1, "port": daemon.ports.reserve(), "name": "bad", "environment": "broken"}

    said = await shell.legacy("multi", "json", json.dumps({"instances": [good, bad]}))

    assert said.code == 1
    assert "'good' (ID: 0) Started" in said.out
    assert "'bad' (ID: 1): exited unexpectedly with code 1" in said.err
    assert (await daemon.api.show(0))["ready"]


async def test_a_configuration_may_have_comments_and_its_errors_are_reported(
    daemon: Daemon, shell: Shell
) -> None:
    port = daemon.ports.reserve()
    commented = f'{{"instances": [{{"id": 0, "port": {port}}}] // the first\n}}'

    assert (await shell.legacy("multi", "json", commented)).code == 0
    broken = await shell.legacy("multi", "json", "{x")
    wrong = await shell.legacy("multi", "json", '{"instances": [{"id": 0, "port": "x"}]}')
    listed = await shell.legacy("multi", "json", "[]")

    assert (broken.code, wrong.code, listed.code) == (1, 1, 1)
    assert "line 1, column 2" in broken.err
    assert "instances.0.port: must be a whole number" in wrong.err
    assert 'must be {"instances": [...]}' in listed.err


async def test_multi_starts_restarts_and_stops_the_enabled_entries(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances(
        {"id": 0, "port": daemon.ports.reserve(), "name": "main"},
        {"id": 1, "port": daemon.ports.reserve(), "name": "off", "enabled": False},
    )

    started = await shell.legacy("multi", "start")
    first = await daemon.api.show_all()
    restarted = await shell.legacy("multi", "restart")
    second = await daemon.api.show_all()
    status = await shell.legacy("multi", "status")
    stopped = await shell.legacy("multi", "stop")

    codes = [each.code for each in (started, restarted, status, stopped)]
    assert codes == [0, 0, 0, 0]
    assert [each["name"] for each in first] == ["main"]
    assert second[0]["pid"] != first[0]["pid"]
    assert f"Instance 0: Running (PID: {second[0]['pid']}" in status.out
    assert stopped.lines[-1] == "STOP: All ComfyUI instances stopped"


async def test_a_file_without_enabled_instances_is_reported(daemon: Daemon, shell: Shell) -> None:
    said = await shell.legacy("multi", "start")

    file = daemon.root / "instances.json"
    assert (said.code, said.out) == (0, f"COMFYUI: no instance is enabled in {file}\n")


async def test_an_invalid_entry_is_reported_and_does_not_affect_the_others(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances({"id": 0, "port": daemon.ports.reserve()}, {"id": 1, "port": -1})

    said = await shell.legacy("multi", "start")

    assert said.code == 1
    assert "instances[1].port: must be" in said.err
    assert [each["id"] for each in await daemon.api.show_all()] == [0]


async def test_an_instance_is_started_and_stopped_by_its_name(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances({"id": 5, "port": daemon.ports.reserve(), "name": "mine", "enabled": False})

    started = await shell.legacy("multi", "start-by-name", "mine")
    stopped = await shell.legacy("multi", "stop-by-name", "mine")
    again = await shell.legacy("multi", "start-by-name", "mine")
    unknown = await shell.legacy("multi", "start-by-name", "yours")

    assert [each.code for each in (started, stopped, again, unknown)] == [0, 0, 0, 1]
    assert "'mine' (ID: 5) Started" in started.out
    assert stopped.lines[-1] == "STOP: Instance 5 stopped"
    assert "no instance 'yours'; there are: 5 'mine'" in unknown.err


async def test_an_instance_is_started_on_each_port(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    base = daemon.ports.reserve_row(3)
    write_instances({"id": 9, "port": base + 1, "name": "filed", "enabled": False})

    said = await shell.legacy("multi", "start-ports", f"{base}-{base + 2}", COMFYUI_BASE_PORT=base)

    shown = await daemon.api.show_all()
    assert said.code == 0, said
    assert [(each["id"], each["port"] - base) for each in shown] == [(0, 0), (2, 2), (9, 1)]


async def test_an_unknown_argument_has_no_effect(daemon: Daemon, shell: Shell) -> None:
    wrong = (
        ["frob"], ["start", "x"], ["start-by-name"], ["start-ports", "5"], ["start-ports", "9-3"],
        ["start-ports", "1-60000"], ["json"], ["stop-all"],
    )  # fmt: skip
    for words in wrong:
        said = await shell.legacy("multi", *words)

        assert said.code == 2, words
        assert "nothing was done" in said.err
    assert await daemon.api.show_all() == []
    assert (await shell.legacy("multi")) == (await shell.legacy("multi", "help"))
