"""`comfysup logs` and `comfysup events`."""

import json

import pytest

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import bounded

TALK = f"for n in 1 2 3 4 5; do echo line $n; done; {SERVE}"


async def test_the_last_lines_of_a_log(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")

    said = await shell.run("logs", "0", "-n", "2")

    assert (said.code, said.lines) == (0, ["line 4", "line 5"])
    assert (await shell.run("logs", "instance_0", "-n", "0")).out == ""
    assert "no instance 'x'" in (await shell.run("logs", "x")).err


async def test_following_a_log_ends_when_its_reader_closes_the_output(
    daemon: Daemon, shell: Shell
) -> None:
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


@pytest.mark.parametrize("command", ["logs 0 -f -n 5", "events --since 0"])
async def test_a_following_command_ends_with_its_reader_without_further_output(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")

    said = await shell.script(f"comfysup {command} | head -n 1; echo ${{PIPESTATUS[0]}}")

    assert (len(said.lines), said.lines[1], said.err) == (2, "0", "")


async def test_events_are_a_line_each(daemon: Daemon, shell: Shell) -> None:
    following = await shell.begin("events", "--since", "0", "--json")
    plain = await shell.begin("events", "--since", "0")
    assert following.stdout is not None
    assert plain.stdout is not None
    await daemon.api.start(0, daemon.ports.reserve(), name="main")

    events = [json.loads(await following.stdout.readline()) for _ in range(3)]
    lines = [(await plain.stdout.readline()).decode() for _ in range(3)]

    names = ["daemon.started", "instance.starting", "instance.ready"]
    assert [each["event"] for each in events] == names
    assert [line.split()[1] for line in lines] == names
    pid = (await daemon.api.show(0))["pid"]
    assert lines[2].split()[2:] == ["0", "'main'", "pid", str(pid)]
    assert "\x1b" not in "".join(lines)


async def test_lines_of_several_logs_are_prefixed_with_the_instance(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "talker", TALK)
    for number, name in enumerate(("one", "メイン")):
        await daemon.api.start(number, daemon.ports.reserve(), name=name, environment="talker")

    named = await shell.run("logs", "one", "1", "-n", "1")
    every = await shell.run("logs", "--all", "-n", "1")
    unknown = await shell.run("logs", "one", "メイ")

    assert named.lines == ["one    | line 5", "メイン | line 5"]
    assert every == named
    assert (unknown.code, unknown.out) == (1, "")
    assert "did you mean 'メイン'?" in unknown.err
    assert (await shell.run("logs")).code == 2


async def test_a_log_since_a_time_begins_with_the_process_of_that_time(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")
    await daemon.api.act(0, "restart")

    now = await shell.run("logs", "0", "--since", "0s")
    all_of_it = await shell.run("logs", "0", "--since", "1d")
    wrong = await shell.run("logs", "0", "--since", "yesterday")

    assert "generation 2" in now.lines[0]
    assert "generation 1" in all_of_it.lines[0]
    assert (wrong.code, (await shell.run("logs", "0", "-n", "1", "--since", "1d")).code) == (2, 2)
    assert "must be how long ago" in wrong.err


FOLLOWING = ["logs -f -n 1 0", "logs -f --all -n 1", "events --since 0"]


@pytest.mark.parametrize("command", FOLLOWING)
async def test_a_following_command_survives_a_restart_and_a_crash_of_the_daemon(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    Program(daemon.workspace, "talker", TALK)
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")
    following = await shell.begin(*command.split())
    assert following.stdout is not None
    seen = b""

    async def see(mark: bytes, times: int) -> None:
        nonlocal seen
        while seen.count(mark) < times:
            assert following.stdout is not None
            piece = await following.stdout.read(4096)
            assert piece, (await following.communicate(), seen)
            seen += piece

    mark = b"line 5" if "logs" in command else b"instance.ready"
    await see(mark, 1)
    await shell.run("daemon", "restart")
    await daemon.api.act(0, "restart")
    await see(mark, 2)
    await daemon.kill()
    await daemon.start()
    await daemon.api.act(0, "restart")
    await see(mark, 3)

    assert seen.count(mark) == 3
    assert following.returncode is None


@pytest.mark.parametrize("command", ["logs -f 0", "logs -f main", "logs -f --all"])
async def test_following_ends_with_the_removal_of_the_instance(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    await daemon.api.start(0, daemon.ports.reserve(), name="main")
    following = await shell.begin(*command.split())
    assert following.stdout is not None
    await following.stdout.readline()

    await shell.run("rm", "0")
    async with bounded():
        _, err = await following.communicate()

    assert following.returncode == 0
    assert err.decode() == "comfysup: instance 0 'main' was removed; its log ends here\n"


@pytest.mark.parametrize("command", FOLLOWING)
async def test_a_following_command_exits_if_the_daemon_does_not_return(
    daemon: Daemon, shell: Shell, command: str
) -> None:
    await daemon.api.start(0, daemon.ports.reserve())
    following = await shell.begin(*command.split(), "--reconnect", "1")
    assert following.stdout is not None
    await following.stdout.readline()

    await daemon.kill()
    _, err = await following.communicate()

    assert following.returncode == 3
    assert "the daemon exited, and no other responded within 1 s" in err.decode()
    await daemon.start()
