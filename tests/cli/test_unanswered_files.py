"""An unresponsive file is reported in time and blocks no command forever."""

import os
from pathlib import Path

import pytest

from comfysup.cli.file_timeout import PATIENCE
from tests import scenarios
from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon

STALLING = Path(scenarios.__file__).parent / "stalling"


def stalled(daemon: Daemon, path: Path) -> dict[str, str]:
    """Return the variables that make every file below a path unresponsive."""
    names = daemon.root / "stalled"
    names.write_text(f"{path}\n")
    return {
        "PYTHONPATH": f"{STALLING}:{os.environ.get('PYTHONPATH', '')}",
        "STALLED": str(names),
        "STALLED_LOOP": str(daemon.root / "stalled-loop"),
    }


@pytest.mark.parametrize("what", ["instances.json", "environment"])
async def test_config_check_names_the_unresponsive_path(
    daemon: Daemon, shell: Shell, what: str
) -> None:
    file = daemon.root / "dead" / "instances.json"
    file.parent.mkdir()
    file.write_text('{"instances": [{"id": 0}]}')
    dead = daemon.workspace / "ComfyUI-comm" if what == "environment" else file.parent
    variables = {**stalled(daemon, dead), "COMFYSUP_WORKSPACE": str(daemon.workspace)}
    said = await shell.run("config", "check", file, **variables)

    named = dead if what == "environment" else file
    assert said.code == 1
    assert f"comfysup: {named} has not answered for {PATIENCE:g} s\n" in said.err


async def test_config_check_waits_for_no_fifo(daemon: Daemon, shell: Shell) -> None:
    fifo = daemon.root / "instances.fifo"
    os.mkfifo(fifo)

    said = await shell.run("config", "check", fifo)

    assert said.code == 1
    assert f"cannot read {fifo}: it is not a file" in said.err


async def test_a_run_directory_that_does_not_answer_ends_a_start(daemon: Daemon) -> None:
    """Otherwise the daemon would block at its first write."""
    process = await daemon.spawn(variables=stalled(daemon, daemon.run_dir))
    code = await process.wait()

    said = (daemon.root / "daemon.log").read_text()
    assert code == 1
    assert f"comfysup: cannot run: the run directory {daemon.run_dir}, or a file" in said
