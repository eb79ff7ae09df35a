"""What people see at a terminal."""

from tests.cli.shell import Shell, plain
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program


async def test_the_table_is_coloured_and_keeps_to_the_terminal(
    daemon: Daemon, shell: Shell
) -> None:
    Program(daemon.workspace, "broken", f"echo '{'long words ' * 20}'; exit 1")
    await daemon.api.start(0, daemon.ports.reserve(), name="main")
    await daemon.api.start(1, daemon.ports.reserve(), name="broken", environment="broken")

    code, shown = await shell.on_terminal("status", columns=100)

    lines = plain(shown).splitlines()
    assert code == 0
    assert "\x1b[32mrunning" in shown
    assert lines[0].split()[:4] == ["ID", "NAME", "ENVIRONMENT", "PORT"]
    assert lines[1].split()[:3] == ["0", "main", "comm"]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 100
    assert lines[2].rstrip().endswith("…")


async def test_no_instances_say_what_to_do(shell: Shell) -> None:
    _, shown = await shell.on_terminal("status")

    assert "No instances. `comfysup start REF`" in plain(shown).replace("\n", " ")


async def test_a_live_line_shows_what_loads(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "slow", f"echo loading the nodes; sleep 1; {SERVE}")
    await daemon.api.start(
        0, daemon.ports.reserve(), name="main", environment="slow", wait={"wait": "spawn"}
    )

    code, shown = await shell.on_terminal("start", "main")

    assert code == 0
    assert "main  starting  0 s  loading the nodes" in plain(shown)
    assert plain(shown).splitlines()[-1].lstrip().startswith("Instance 0 'main' is ready on port")


async def test_ctrl_c_leaves_the_live_line(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "slow", NEVER_READY)
    await daemon.api.start(0, daemon.ports.reserve(), environment="slow", wait={"wait": "spawn"})

    code, shown = await shell.on_terminal("start", "0", until_seen="starting")

    assert code == 130
    assert "Traceback" not in shown


async def test_environments_are_a_table(daemon: Daemon, shell: Shell) -> None:
    _, shown = await shell.on_terminal("env", "list")

    assert plain(shown).splitlines()[1].split()[:2] == ["comm", "usable"]


async def test_a_log_is_shown_as_it_was_written(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "talker", f"printf '\\033[31mred\\033[0m\\n'; {SERVE}")
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")

    code, shown = await shell.on_terminal("logs", "0", "-f", "-n", "1", until_seen="red")

    assert code == 130
    assert "red" in shown
