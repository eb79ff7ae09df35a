"""`comfysup env`, `config check`, `reload`, `daemon`, and the completion."""

from tests.cli.conftest import WriteInstances
from tests.cli.shell import Shell, plain
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program


async def test_environments_are_listed_and_checked(daemon: Daemon, shell: Shell) -> None:
    (daemon.workspace / "ComfyUI-empty").mkdir()

    listed = await shell.run("env", "list")
    checked = await shell.run("env", "check")

    path = daemon.workspace / "ComfyUI-comm"
    assert listed.lines[0].split("\t") == ["comm", "usable", "-", "-", "-", str(path)]
    assert listed.lines[1].split("\t")[:2] == ["empty", "unusable"]
    assert checked.code == 1
    assert f"problem: cannot use {daemon.workspace}/ComfyUI-empty/main.py" in checked.out
    assert (await shell.run("env", "check", "comm")).code == 0
    assert (await shell.run("env", "check", "--json")).json[1]["usable"] is False
    unknown = await shell.run("env", "check", "x")
    assert (unknown.code, unknown.err) == (
        1,
        "comfysup: no environment 'x'; there are: comm, empty\n",
    )


async def test_the_models_of_an_environment_are_shared(daemon: Daemon, shell: Shell) -> None:
    models = daemon.workspace / "ComfyUI-comm" / "models"
    (models / "vae").mkdir(parents=True)
    (models / "vae" / "mine").write_text("weights")

    said = await shell.run("env", "link", "comm")
    again = await shell.run("env", "link", "comm", "--json")

    assert said.code == 0, said
    assert any(line.startswith("moved: ") for line in said.lines)
    assert said.lines[-1] == "comm: its models are linked to shared-models"
    assert (daemon.workspace / "shared-models" / "vae" / "mine").read_text() == "weights"
    assert (again.code, again.json["linked"], again.json["moved"]) == (0, True, [])
    unknown = await shell.run("env", "link", "x")
    assert unknown.code == 1
    assert "`comfysup env list` shows what there is" in unknown.err


async def test_models_that_are_in_use_are_not_moved(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    said = await shell.run("env", "link", "comm")

    assert said.code == 1
    assert "stop instance 0 'instance_0' first" in said.err


async def test_a_workspace_without_environments_is_reported(daemon: Daemon, shell: Shell) -> None:
    (daemon.workspace / "ComfyUI-comm").rename(daemon.workspace / "else")

    said = await shell.run("env", "list")

    assert said.out == f"No environments: there is no ComfyUI-<name> in {daemon.workspace}\n"
    checked = await shell.run("env", "check")
    assert (checked.code, checked.err) == (
        1,
        f"comfysup: there is no ComfyUI-<name> in {daemon.workspace}\n",
    )
    assert (await shell.run("env", "list", "--json")).json == []


async def test_a_valid_file_is_shown_as_parsed(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances({"id": 0, "name": "main"}, {"id": 1, "port": 3005, "enabled": False})
    file = daemon.root / "instances.json"

    said = await shell.run("config", "check", file)

    assert said.code == 0
    assert said.out == (
        "instance 0 'main': comm, port 3001\n"
        "instance 1 'instance_1': comm, port 3005, not enabled\n"
    )
    default = await shell.run("config", "check", "--json", COMFYSUP_INSTANCES_FILE=file)
    assert [each["enabled"] for each in default.json["instances"]] == [True, False]


async def test_a_relative_path_in_a_removed_directory_is_an_error(shell: Shell) -> None:
    said = await shell.script("mkdir gone && cd gone && rmdir ../gone && comfysup config check x")

    assert said.code == 1
    assert said.err == (
        "comfysup: cannot find x: the current directory has been removed; name an absolute path\n"
    )


async def test_config_check_reports_all_errors_with_their_positions(
    daemon: Daemon, shell: Shell
) -> None:
    file = daemon.root / "instances.json"
    file.write_text('{"instances": [\n{"id": 0, "port": 99999},\n{"id": 1, "prot": 3005}]}')

    said = await shell.run("config", "check", file)
    report = await shell.run("config", "check", file, "--json", COMFYSUP_PORT="x")

    assert said.code == 1
    assert f"{file}: line 2, instances[0].port: must be" in said.err
    assert "line 3, instances[1].prot: unknown key" in said.err
    assert report.code == 1
    assert report.json["settings"][0].startswith("COMFYSUP_PORT must be")
    assert [each["line"] for each in report.json["mistakes"]] == [2, 3]


async def test_an_invalid_variable_does_not_hide_errors_in_the_instances_file(
    daemon: Daemon, shell: Shell
) -> None:
    file = daemon.root / "named.json"
    file.write_text('{"instances": [\n{"id": 0, "port": 99999}]}')

    said = await shell.run(
        "config", "check", COMFYSUP_INSTANCES_FILE=file, COMFYSUP_STOP_GRACE="soon"
    )

    assert said.code == 1
    assert "settings: COMFYSUP_STOP_GRACE must be" in said.err
    assert f"{file}: line 2, instances[0].port: must be" in said.err
    assert "there is no" not in said.err


async def test_an_unusable_environment_is_an_error(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    file = daemon.root / "instances.json"
    Program(daemon.workspace, "broken")
    (daemon.workspace / "ComfyUI-broken" / "main.py").unlink()
    write_instances(
        {"id": 0},
        {"id": 1, "environment": "nosuch"},
        {"id": 2, "environment": "broken"},
        {"id": 3, "environment": "later", "enabled": False},
    )
    workspace = {"COMFYSUP_WORKSPACE": daemon.workspace}

    said = await shell.run("config", "check", file, **workspace)
    report = await shell.run("config", "check", file, "--json", **workspace)
    elsewhere = await shell.run("config", "check", file, COMFYSUP_WORKSPACE=daemon.root / "none")

    assert (said.code, report.code) == (1, 1)
    assert "instance 1 'instance_1': there is no environment 'nosuch'" in said.err
    assert "instance 2 'instance_2': " in said.err
    assert "instance_3" not in said.err
    assert len(report.json["environments"]) == 2
    assert elsewhere.code == 0
    assert "no environment was checked; COMFYSUP_WORKSPACE names" in elsewhere.err


async def test_a_dry_run_lists_the_actions_of_a_reload_and_their_reasons(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    ports = [daemon.ports.reserve() for _ in range(2)]
    await daemon.api.start(0, ports[0], name="main", extra_args=["--lowvram"])
    pid = (await daemon.api.show(0))["pid"]
    write_instances({"id": 0, "port": ports[0], "name": "main"}, {"id": 1, "port": ports[1]})

    said = await shell.run("reload", "--dry-run")

    assert said.code == 0
    replaced = "a caller started it with other settings than instances.json"
    assert said.lines == [
        "would start: 1 'instance_1': new in instances.json",
        f"would restart: 0 'main': {replaced}: extra_args --lowvram → none",
    ]
    assert (await daemon.api.show(0))["pid"] == pid
    plan = (await shell.run("reload", "--json")).json["plan"]
    assert [(each["id"], each["action"]) for each in plan] == [(0, "restart"), (1, "start")]


async def test_a_named_file_that_does_not_exist_is_an_error(daemon: Daemon, shell: Shell) -> None:
    file = daemon.root / "none.json"

    named = await shell.run("config", "check", file)
    default = await shell.run("config", "check", COMFYSUP_INSTANCES_FILE=file)

    assert f"there is no {file}" in default.out
    assert (named.code, named.err) == (1, f"comfysup: there is no {file}\n")
    assert default.code == 0


async def test_reload_reports_its_actions(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances({"id": 0, "port": daemon.ports.reserve(), "name": "main"}, {"id": 1, "x": 2})

    said = await shell.run("reload")

    assert (said.code, said.out) == (1, "started: 0 'main'\n")
    assert "line 1, instances[1].x: unknown key" in said.err
    (daemon.root / "instances.json").write_text("{")
    broken = await shell.run("reload")
    assert (broken.code, broken.out) == (1, "")
    assert "line 1, column 2" in broken.err


async def test_the_daemon_command_shows_the_state_of_the_daemon(
    daemon: Daemon, shell: Shell
) -> None:
    said = await shell.run("daemon", "show")
    facts = (await shell.run("daemon", "show", "--json")).json

    assert said.code == 0
    assert said.lines[0].startswith(f"comfysup {facts['version']}, pid {daemon.pid}, up for ")
    assert f"  workspace = {daemon.workspace}" in said.lines
    assert "  autolaunch = false" in said.lines
    assert "  restart = always" in said.lines
    assert "{" not in said.out


async def test_daemon_restart_keeps_processes_and_generations(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())
    before = await daemon.api.show(0)

    said = await shell.run("daemon", "restart", "--json")

    assert said.code == 0, said
    assert len(daemon.events("daemon.started")) == 2
    after = await daemon.api.show(0)
    assert (after["pid"], after["generation"]) == (before["pid"], before["generation"])


async def test_shells_complete_commands_and_names(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(7, daemon.ports.reserve(), name="main")

    async def offered(line: str) -> list[str]:
        said = await shell.run(
            _COMFYSUP_COMPLETE="bash_complete",
            COMP_WORDS=f"comfysup {line}",
            COMP_CWORD=len(line.split(" ")),
        )
        return [each.partition(",")[2] for each in said.lines]

    assert await offered("st") == ["status", "start", "stop"]
    assert await offered("stop m") == ["main"]
    assert await offered("logs 7") == ["7"]
    assert await offered("env check c") == ["comm"]
    for kind in ("bash", "zsh", "fish"):
        said = await shell.run("completion", kind)
        assert said.code == 0
        assert f"_COMFYSUP_COMPLETE={kind}_complete" in said.out
    assert (await shell.run("completion", "tcsh")).code == 2


async def test_control_characters_of_an_environment_are_not_printed(
    daemon: Daemon, shell: Shell
) -> None:
    comm = daemon.workspace / "ComfyUI-comm"
    (comm / "comfyui_version.py").write_text('__version__ = "1\x1b]0;x\x07\x9b2J\u202e\u2028"')
    (daemon.workspace / "ComfyUI-\u202ebad\n\x9b").mkdir()
    hostile = "\x1b\x07\x9b\u202e\u2028"

    said = [
        await shell.run("env", *words)
        for words in (["list"], ["check"], ["list", "--json"], ["check", "--json"])
    ]
    _, shown = await shell.on_terminal("env", "list")
    refused = await shell.run("start", "\u202e\x9b")
    answer = await daemon.api.ask("GET", "/api/comfyui/environments")

    texts = [each.out + each.err for each in (*said, refused)] + [plain(shown)]
    assert [char for text in texts for char in text if char in hostile] == []
    assert len(said[0].lines) == 2
    assert {each["name"] for each in said[2].json} == {"comm", "\u202ebad\n\x9b"}
    versions = {each["name"]: each["comfyui_version"] for each in answer.body["environments"]}
    assert versions["comm"] == "1\x1b]0;x\x07\x9b2J\u202e\u2028"


async def test_a_missing_environment_named_in_instances_json_is_an_error(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    write_instances(
        {"id": 0},
        {"id": 1, "environment": "gone"},
        {"id": 2, "environment": "gone", "enabled": False},
    )
    file, here = daemon.root / "instances.json", {"COMFYSUP_WORKSPACE": daemon.workspace}
    checked = await shell.run("config", "check", file, **here)
    as_json = await shell.run("config", "check", file, "--json", **here)
    elsewhere = await shell.run("config", "check", file, COMFYSUP_WORKSPACE=daemon.root / "no")

    assert (checked.code, as_json.code, elsewhere.code) == (1, 1, 0)
    assert f"{file}: line 1, instance 1 'instance_1': there is no environment 'gone'" in checked.err
    assert "instance_0" not in checked.err
    assert "instance_2" not in checked.err
    assert len(as_json.json["environments"]) == 1
