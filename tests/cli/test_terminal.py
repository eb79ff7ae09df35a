"""The output on a terminal."""

import re

import pytest

from comfysup.api.views.instance_table import width
from tests.cli.shell import Shell, plain
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, SERVE, Program


@pytest.mark.parametrize("columns", [60, 80, 200])
async def test_status_fits_the_terminal_and_cuts_nothing(
    daemon: Daemon, shell: Shell, columns: int
) -> None:
    words = "word " * 30 + "end"
    Program(daemon.workspace, "broken", f"echo '{words}'; exit 1")
    ports = [daemon.ports.reserve() for _ in range(2)]
    await daemon.api.start(0, ports[0], name="メイン" * 10)
    await daemon.api.start(1, ports[1], name="broken", environment="broken")

    code, shown = await shell.on_terminal("status", columns=columns)

    text = plain(shown)
    assert code == 0
    assert "\x1b[32mrunning" in shown
    assert max(map(width, text.splitlines())) <= columns
    assert all(str(port) in text for port in ports)
    assert "backoff" in text
    assert "reason: " in text
    assert text.split().count("word") + text.split().count("end") >= 31
    assert "…" not in text


async def test_an_empty_status_suggests_a_command(shell: Shell) -> None:
    _, shown = await shell.on_terminal("status")

    assert "No instances. `comfysup start REF`" in plain(shown).replace("\n", " ")


async def test_a_live_line_shows_the_last_log_line_of_a_starting_instance(
    daemon: Daemon, shell: Shell
) -> None:
    gate = daemon.root / "gate"
    loading = f"echo loading the nodes; while [ ! -e {gate} ]; do sleep 0.05; done; {SERVE}"
    Program(daemon.workspace, "slow", loading)
    await daemon.api.start(
        0, daemon.ports.reserve(), name="main", environment="slow", wait={"wait": "spawn"}
    )

    code, shown = await shell.on_terminal(
        "start", "main", until_seen="loading the nodes", then=lambda _process: gate.touch()
    )

    assert code == 0
    assert re.search(r"main  starting  \d+ s  loading the nodes", plain(shown))
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


async def test_a_log_is_printed_unchanged(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "talker", f"printf '\\033[31mred\\033[0m\\n'; {SERVE}")
    await daemon.api.start(0, daemon.ports.reserve(), environment="talker")

    code, shown = await shell.on_terminal("logs", "0", "-f", "-n", "1", until_seen="red")

    assert code == 130
    assert "red" in shown
