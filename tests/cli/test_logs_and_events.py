"""`comfysup logs` and `comfysup events`."""

import json

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program

TALK = f"for n in 1 2 3 4 5; do echo line $n; done; {SERVE}"


async def test_the_last_lines_of_a_log(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")

    said = await shell.run("logs", "0", "-n", "2")

    assert (said.code, said.lines) == (0, ["line 4", "line 5"])
    assert (await shell.run("logs", "instance_0", "-n", "0")).out == ""
    assert "no instance 'x'" in (await shell.run("logs", "x")).err


async def test_a_log_is_followed_until_the_reader_leaves(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")
    following = await shell.begin("logs", "0", "-f", "-n", "1")
    assert following.stdout is not None
    assert await following.stdout.readline() == b"line 5\n"

    await daemon.api.act(0, "restart")

    seen = b""
    while b"line 5" not in seen:
        seen += await following.stdout.read(4096)
    assert b"generation 2" in seen


async def test_events_are_a_line_each(daemon: Daemon, shell: Shell) -> None:
    following = await shell.begin("events", "--since", "0", "--json")
    assert following.stdout is not None
    missed = json.loads(await following.stdout.readline())
    plain = await shell.begin("events", "--since", str(missed["id"]))
    assert plain.stdout is not None
    await daemon.api.start(0, daemon.ports.reserve(), name="main")

    events = [json.loads(await following.stdout.readline()) for _ in range(3)]
    lines = [(await plain.stdout.readline()).decode() for _ in range(3)]

    names = ["daemon.started", "instance.starting", "instance.ready"]
    assert missed["event"] == "events.missed"
    assert [each["event"] for each in events] == names
    assert [line.split()[1] for line in lines] == names
    pid = (await daemon.api.show(0))["pid"]
    assert lines[2].split()[2:] == ["0", "'main'", "pid", str(pid)]
    assert "\x1b" not in "".join(lines)
