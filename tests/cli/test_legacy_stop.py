"""`/stop_comfyui.sh`: the lines that scripts read."""

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program


async def test_one_instance_is_stopped_and_the_other_is_not(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.start(1, daemon.ports.reserve())
    pid = (await daemon.api.show(0))["pid"]

    said = await shell.legacy("stop", "instance", "0")
    again = await shell.legacy("stop", "instance", "0")

    assert (said.code, said.lines) == (
        0,
        [f"STOP: Stopping instance 0 (PID: {pid})", "STOP: Instance 0 stopped"],
    )
    assert (again.code, again.lines) == (
        0,
        ["STOP: Instance 0 is not running or PID file not found"],
    )
    assert (await daemon.api.show(1))["state"] == "running"


async def test_all_are_stopped(daemon: Daemon, shell: Shell) -> None:
    pids = {}
    for number in (0, 1):
        await daemon.api.start(number, daemon.ports.reserve())
        pids[number] = (await daemon.api.show(number))["pid"]

    said = await shell.legacy("stop", "all")

    assert said.code == 0
    assert said.lines == [
        "STOP: Stopping all ComfyUI instances...",
        f"STOP: Stopping instance 0 (PID: {pids[0]})",
        f"STOP: Stopping instance 1 (PID: {pids[1]})",
        "STOP: Instance 0 stopped",
        "STOP: Instance 1 stopped",
        "STOP: All ComfyUI instances stopped",
    ]
    nothing = await shell.legacy("stop", "all")
    assert nothing.lines == [said.lines[0], said.lines[-1]]


async def test_a_port_selects_the_instance_that_uses_it(daemon: Daemon, shell: Shell) -> None:
    port, free = daemon.ports.reserve(), daemon.ports.reserve()
    await daemon.api.start(4, port)

    none = await shell.legacy("stop", free)
    by_id = await shell.legacy("stop", 4)
    running = await daemon.api.show(4)
    said = await shell.legacy("stop", port)

    assert (none.code, none.out) == (0, f"STOP: No ComfyUI instance found on port {free}\n")
    assert by_id.code == 2
    assert "to stop instance 4: instance 4" in by_id.err
    assert running["state"] == "running"
    assert said.lines[-1] == "STOP: Instance 4 stopped"


async def test_the_status_of_the_stop_script(daemon: Daemon, shell: Shell) -> None:
    nothing = await shell.legacy("stop", "status")
    port = daemon.ports.reserve()
    await daemon.api.start(0, port)
    pid = (await daemon.api.show(0))["pid"]
    running = await shell.legacy("stop", "status")
    Program(daemon.workspace, "broken", "exit 1")
    await daemon.api.start(1, daemon.ports.reserve(), environment="broken")
    broken = await shell.legacy("stop", "status")

    heading = "STOP: ComfyUI Instance Status:"
    assert nothing.lines == [heading, "  No ComfyUI instances found"]
    assert running.lines == [heading, f"  Instance 0: RUNNING (PID: {pid}, Port: {port})"]
    assert broken.lines[2].startswith("  Instance 1: BACKOFF (Port: ")
    assert [each.code for each in (nothing, running, broken)] == [0, 0, 1]


async def test_an_unknown_argument_stops_nothing(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    for words in (["frob"], ["al"], ["al", "0"], ["--all"], ["all", "0"], ["status", "0"]):
        said = await shell.legacy("stop", *words)

        assert said.code == 2, words
        assert "nothing was stopped" in said.err
        assert "usage: /stop_comfyui.sh" in said.err
    assert (await daemon.api.show(0))["state"] == "running"


async def test_no_argument_and_help_print_the_usage(daemon: Daemon, shell: Shell) -> None:
    await daemon.api.start(0, daemon.ports.reserve())

    nothing, asked = await shell.legacy("stop"), await shell.legacy("stop", "help")

    assert nothing == asked
    assert nothing.code == 0
    assert "usage: /stop_comfyui.sh all" in nothing.out
    assert (await daemon.api.show(0))["state"] == "running"


async def test_a_stop_without_an_instance_is_refused(daemon: Daemon, shell: Shell) -> None:
    missing = await shell.legacy("stop", "instance")
    unknown = await shell.legacy("stop", "instance", "9")
    several = await shell.legacy("stop", "instance", "0", "2")

    assert several.code != 0
    assert "one instance ID is expected; nothing was stopped" in several.err
    assert (missing.code, missing.err) == (1, "STOP: ERROR - Instance ID required\n")
    assert (unknown.code, unknown.out) == (
        0,
        "STOP: Instance 9 is not running or PID file not found\n",
    )
    assert "there are: none" in unknown.err
