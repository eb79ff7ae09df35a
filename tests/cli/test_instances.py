"""`comfysup start`, `stop`, `restart` and `status`."""

import signal

from comfysup.demo.workspace import build_environment
from tests.cli.conftest import WriteInstances
from tests.cli.shell import Shell
from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, Program
from tests.scenarios.prompts import Comfy, sleep
from tests.scenarios.rescue import known
from tests.scenarios.waiting import until


async def test_start_prints_readiness_and_the_url(daemon: Daemon, shell: Shell) -> None:
    port = daemon.ports.reserve()
    await daemon.api.start(0, port, name="main")
    await shell.run("stop", "main")

    said = await shell.run("start", "main")

    pid = (await daemon.api.show("main"))["pid"]
    assert said.code == 0
    assert said.out.startswith(f"Instance 0 'main' is ready on port {port}, pid {pid}, loaded in ")


async def test_start_uses_the_entry_of_instances_json_for_an_unknown_instance(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    port = daemon.ports.reserve()
    write_instances(
        {"id": 3, "port": port, "name": "filed", "enabled": False, "env": {"A": "b"}},
        global_settings={"default_extra_args": "--lowvram", "stop_grace": 7},
    )

    said = await shell.run("start", "filed", "--json")

    assert said.code == 0, said
    assert (said.json["id"], said.json["port"]) == (3, port)
    assert said.json["extra_args"] == ["--lowvram"]


async def test_a_reload_leaves_an_instance_started_from_the_file_alone(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    """The command sends exactly the spec that the daemon reads in the file."""
    write_instances(
        {
            "id": 0,
            "port": daemon.ports.reserve(),
            "extra_args": "--fast",
            "gpu": 0,
            "env": {"A": "b"},
        },
        global_settings={"default_extra_args": ["--lowvram"], "max_failures": 3},
    )
    await shell.run("start", "0")

    said = await shell.run("reload")

    assert (said.code, said.out) == (0, "left alone: 0 'instance_0'\n")


async def test_an_unknown_reference_is_answered_with_the_known_instances(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="main")
    write_instances({"id": 5, "port": daemon.ports.reserve(), "name": "other"}, {"id": "x"})

    said = await shell.run("start", "mian")

    assert said.code == 1
    assert "no instance 'mian'; there are: 0 'main'" in said.err
    assert "did you mean 'main'?" in said.err
    assert "instances.json has: 5 'other', and errors: see `comfysup config check`" in said.err


async def test_a_failed_start_prints_the_reason(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "broken", 'echo "No module named torch" >&2; exit 3')
    port = daemon.ports.reserve()
    await daemon.api.start(0, port, environment="broken", wait={"wait": "spawn"})
    await shell.run("stop", "0")

    said = await shell.run("start", "0")

    as_json = await shell.run("start", "0", "--json")

    assert (said.code, said.out) == (1, "")
    assert "cannot start instance 0" in said.err
    assert "No module named torch" in said.err
    assert (as_json.code, as_json.json["code"]) == (1, "start_failed")
    assert "No module named torch" in as_json.json["detail"]


async def test_a_start_that_times_out_exits_with_1_and_continues(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "slow", NEVER_READY)
    await daemon.api.start(0, daemon.ports.reserve(), environment="slow", wait={"wait": "spawn"})

    said = await shell.run("start", "0", "--timeout", "0.1")

    assert said.code == 1
    assert "is still loading on port" in said.out
    assert "`comfysup logs -f 0`" in said.err
    assert (await shell.run("start", "0", "--no-wait")).code == 0


async def test_all_means_all(daemon: Daemon, shell: Shell, write_instances: WriteInstances) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="known")
    write_instances(
        {"id": 1, "port": daemon.ports.reserve(), "name": "enabled"},
        {"id": 2, "port": daemon.ports.reserve(), "name": "disabled", "enabled": False},
    )

    started = await shell.run("start", "--all", "--json")
    before = {each["id"]: each["pid"] for each in started.json}
    restarted = await shell.run("restart", "--all", "--rolling", "--json")
    stopped = await shell.run("stop", "--all")

    assert sorted(before) == [0, 1]
    assert {each["id"] for each in restarted.json if each["pid"] != before[each["id"]]} == {0, 1}
    assert stopped.out == "Instance 0 'known' stopped\nInstance 1 'enabled' stopped\n"
    assert (await shell.run("stop", "--all")).out == "There is nothing to do.\n"


async def test_stop_all_cancels_pending_autolaunch_entries(
    daemon: Daemon, shell: Shell, write_instances: WriteInstances
) -> None:
    await daemon.kill()
    write_instances(
        *({"id": number, "port": daemon.ports.reserve()} for number in range(3)),
        global_settings={"startup_delay": 600},
    )
    await daemon.start(variables={"DISABLE_AUTOLAUNCH": "false"})
    await daemon.api.until(0, state="running")

    stopped = await shell.run("stop", "--all")

    assert stopped.lines == [f"Instance {n} 'instance_{n}' stopped" for n in range(3)]
    assert (await shell.run("stop", "--all")).out == "There is nothing to do.\n"


async def test_several_references_are_handled_concurrently(daemon: Daemon, shell: Shell) -> None:
    for number in range(3):
        await daemon.api.start(number, daemon.ports.reserve(), name=f"n{number}")

    stopped = await shell.run("stop", "n0", "1", "n0")
    started = await shell.run("start", "n0", "nobody", "1", "--json")
    removed = await shell.run("rm", "0", "n2")

    assert stopped.out == "Instance 0 'n0' stopped\nInstance 1 'n1' stopped\n"
    assert (started.code, [each.get("id") for each in started.json]) == (1, [0, None, 1])
    assert (started.json[1]["ref"], started.json[1]["code"]) == ("nobody", "unknown_instance")
    assert (removed.code, removed.lines) == (
        0,
        ["Instance 0 'n0' removed", "Instance 2 'n2' removed"],
    )
    assert [each["id"] for each in (await shell.run("status", "--json")).json] == [1]


async def test_a_rolling_restart_ends_with_the_first_that_fails(
    daemon: Daemon, shell: Shell
) -> None:
    broken = Program(daemon.workspace, "broken")
    await daemon.api.start(0, daemon.ports.reserve(), environment="broken")
    second = await daemon.api.start(1, daemon.ports.reserve())
    broken.write("exit 1")

    said = await shell.run("restart", "--all", "--rolling")

    assert said.code == 1
    assert "cannot start instance 0" in said.err
    assert (await daemon.api.show(1))["pid"] == second.body["instance"]["pid"]


async def test_a_reference_and_all_together_are_wrong_usage(shell: Shell) -> None:
    for verb in ("start", "stop", "restart"):
        neither = await shell.run(verb)
        both = await shell.run(verb, "main", "--all")
        assert (neither.code, both.code) == (2, 2)
        assert "or pass --all" in neither.err
        assert "--all cannot be combined with" in both.err
    assert (await shell.run("restart", "main", "--rolling")).code == 2


async def test_the_drain_option_is_sent_to_the_daemon(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    restarted = await shell.run("restart", "0", "--drain", "5")
    stopped = await shell.run("stop", "0", "--drain", "5")

    assert (restarted.code, stopped.code) == (0, 0), (restarted, stopped)
    assert (await shell.run("restart", "0", "--drain", "-1")).code == 2


async def test_the_prompts_option_is_sent_to_the_daemon(daemon: Daemon, shell: Shell) -> None:
    build_environment(daemon.workspace, "standin")
    port = daemon.ports.reserve()
    await daemon.api.start(0, port, environment="standin")
    comfy = Comfy(port)
    await comfy.submit(sleep(600), "hangs")
    await comfy.submit(sleep(600), "waits")
    await comfy.runs("hangs")
    await known(daemon, 1, 1)

    restarted = await shell.run("restart", "0", "--drop-running")

    assert restarted.code == 0, restarted
    await comfy.runs("waits")
    assert await comfy.queue() == (["waits"], [])
    await known(daemon, 1, 0)
    assert (await shell.run("stop", "0", "--rescue", "none")).code == 0
    assert (await shell.run("start", "0")).code == 0
    assert await comfy.queue() == ([], [])
    assert (await shell.run("stop", "0", "--rescue", "some")).code == 2


async def test_interrupting_a_waiting_start_leaves_the_instance_starting(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "slow", NEVER_READY)
    await daemon.api.start(0, daemon.ports.reserve(), environment="slow", wait={"wait": "spawn"})
    waiting = await shell.begin("start", "0")
    await until(lambda: kernel.has_socket(waiting.pid))

    waiting.send_signal(signal.SIGINT)

    assert await waiting.wait() == 130
    assert (await daemon.api.show(0))["state"] == "starting"


async def test_status_in_a_pipe_is_the_plain_table(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="main")

    said = await shell.run("status")

    assert said.code == 0
    assert said.lines[0].split()[:3] == ["ID", "NAME", "STATE"]
    assert said.lines[1].split()[:3] == ["0", "main", "running"]
    assert "\x1b" not in said.out
    listed = (await shell.run("status", "--json")).json
    pid = (await daemon.api.show(0))["pid"]
    assert [(each["name"], each["pid"]) for each in listed] == [("main", pid)]


async def test_status_imports_no_slow_module(shell: Shell) -> None:
    """The command must take less than 250 ms; each of these modules takes as long as all others."""
    said = await shell.run("status", PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.err.splitlines()}
    assert said.code == 0
    assert "click" in imported
    assert not imported & {"aiohttp", "asyncio", "pydantic", "rich", "structlog", "psutil"}


async def test_without_a_daemon_every_command_prints_the_address_that_it_tried(
    daemon: Daemon, shell: Shell
) -> None:
    commands = (
        "status", "start 0", "stop 0", "restart 0", "start --all", "logs 0", "events", "env list",
        "env check", "env link comm", "reload", "daemon show", "daemon restart", "legacy start",
        "legacy stop all", "legacy multi start",
    )  # fmt: skip
    for command in commands:
        said = await shell.run(*command.split(), COMFYSUP_RUN_DIR=daemon.root / "nowhere")

        assert (said.code, said.out) == (3, "") or command.startswith("legacy"), command
        assert said.code == 3, command
        assert f"cannot reach the daemon at {daemon.root}/nowhere/api.sock" in said.err
    health = await shell.run("health", COMFYSUP_RUN_DIR=daemon.root / "nowhere")
    assert health.code == 1
