"""`comfysup env`, `config check`, `reload`, `daemon`, and the completion."""

from tests.cli.conftest import WriteInstances
from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon


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
    assert "instance 0 'instance_0' must be stopped" in said.err


async def test_a_workspace_without_environments_says_what_it_lacks(
    daemon: Daemon, shell: Shell
) -> None:
    (daemon.workspace / "ComfyUI-comm").rename(daemon.workspace / "else")

    said = await shell.run("env", "list")

    assert said.out == f"No environments: there is no ComfyUI-<name> in {daemon.workspace}\n"
    assert (await shell.run("env", "list", "--json")).json == []


async def test_a_good_file_is_shown_as_it_was_understood(
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


async def test_all_mistakes_of_a_file_are_told_with_their_places(
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


async def test_a_file_that_is_named_must_be_there(daemon: Daemon, shell: Shell) -> None:
    file = daemon.root / "none.json"

    named = await shell.run("config", "check", file)
    default = await shell.run("config", "check", COMFYSUP_INSTANCES_FILE=file)

    assert (named.code, named.err) == (1, f"environment: there is no {file}\n")
    assert default.code == 0


async def test_reload_says_what_it_did(
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


async def test_the_daemon_tells_of_itself(daemon: Daemon, shell: Shell) -> None:
    said = await shell.run("daemon", "show")
    facts = (await shell.run("daemon", "show", "--json")).json

    assert said.code == 0
    assert said.lines[0].startswith(f"comfysup {facts['version']}, pid {daemon.pid}, up for ")
    assert f"  workspace = {daemon.workspace}" in said.lines


async def test_the_daemon_starts_anew_in_place(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())
    before = await daemon.api.show(0)

    said = await shell.run("daemon", "restart", "--json")

    assert said.code == 0, said
    assert said.json["uptime_seconds"] < 20
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
