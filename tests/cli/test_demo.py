"""`comfysup demo`."""

import asyncio
import signal
import subprocess
from typing import Any

from tests.cli.shell import COMFYSUP, Shell, plain
from tests.scenarios.harness import Daemon


async def test_the_demo_prints_its_address_once_it_listens_and_exits_when_its_terminal_closes(
    daemon: Daemon, shell: Shell
) -> None:
    temporary = daemon.root / "tmp"
    temporary.mkdir()
    variables: dict[str, Any] = {
        "COMFYSUP_RUN_DIR": daemon.root / "demo",
        "COMFYSUP_PORT": daemon.ports.reserve(),
        "TMPDIR": temporary,
    }
    called: list[str] = []

    def call_and_hang_up(demo: asyncio.subprocess.Process) -> None:
        called.append(
            subprocess.check_output(
                [*COMFYSUP, "status"], env=shell.environ(variables), text=True, timeout=60
            )
        )
        demo.send_signal(signal.SIGHUP)

    code, shown = await shell.on_terminal(
        "demo", until_seen="closing this terminal", then=call_and_hang_up, **variables
    )

    assert code == 0
    assert called == ["No ComfyUI instances are known.\n"]
    assert f"COMFYSUP_RUN_DIR={daemon.root / 'demo'} " in plain(shown)
    assert list(temporary.iterdir()) == []


async def test_a_demo_that_cannot_begin_leaves_nothing(daemon: Daemon, shell: Shell) -> None:
    temporary = daemon.root / "tmp"
    temporary.mkdir()

    said = await shell.run("demo", COMFYSUP_RUN_DIR=daemon.run_dir, TMPDIR=temporary)

    assert said.code == 1
    assert said.err == (
        f"comfysup: cannot use {daemon.run_dir}: a comfysup with pid {daemon.pid} is running "
        "there; COMFYSUP_RUN_DIR names another directory\n"
    )
    assert list(temporary.iterdir()) == []
