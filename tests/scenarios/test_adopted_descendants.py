"""Descendants of adopted instances: scenarios 13 and 26."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.test_descendants import RELATIVES, left_by
from tests.unit.linux.test_sweep_forks import COMET_C, COMET_PY, FORKS

COMET = f"setsid -f '<directory>/comet' {FORKS}; "


def build_comet(directory: Path) -> None:
    """Build a program that forks and exits endlessly, so that its pid keeps changing."""
    compiler = shutil.which("cc")
    if compiler is None:
        file = directory / "comet"
        file.write_text(f"#!/usr/bin/env python3\n{COMET_PY}")
        file.chmod(0o755)
        return
    (directory / "comet.c").write_text(COMET_C)
    subprocess.run([compiler, "-O1", "-o", "comet", "comet.c"], cwd=directory, check=True)


def comets(program: Program) -> list[int]:
    """Return the processes of that program; a single search may miss an endlessly forking one."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - as names
        try:
            executable = os.readlink(f"/proc/{name}/exe")  # noqa: PTH115 - likewise
        except OSError:
            continue
        if name.isdigit() and executable == str(program.directory / "comet"):
            found.append(int(name))
    return found


@pytest.mark.parametrize("kind", RELATIVES)
async def test_a_stop_ends_all_descendants_of_the_instance(daemon: Daemon, kind: str) -> None:
    program = Program(daemon.workspace, script=RELATIVES[kind] + SERVE)
    await daemon.start(stop_grace=0.4)
    await daemon.api.start(0, daemon.ports.reserve())
    left = await left_by(program, 1)
    await daemon.kill()
    await daemon.start(stop_grace=0.4)

    stopped = await daemon.api.act(0, "stop")

    assert stopped.body["state"] == "stopped"
    assert not [pid for pid in left if kernel.alive(pid)]


@pytest.mark.parametrize("adopted", [False, True], ids=["own", "adopted"])
async def test_a_stop_ends_descendants_that_keep_forking_and_exiting(
    daemon: Daemon, *, adopted: bool
) -> None:
    """A single search without a result is no proof."""
    program = Program(daemon.workspace, script=COMET * 2 + SERVE)
    build_comet(program.directory)
    await daemon.start(stop_grace=0.4)
    await daemon.api.start(0, daemon.ports.reserve())
    if adopted:
        await daemon.kill()
        await daemon.start(stop_grace=0.4)

    stopped = await daemon.api.act(0, "stop")

    assert stopped.body["state"] == "stopped"
    looked_until = time.monotonic() + 1
    while time.monotonic() < looked_until:
        assert not comets(program)
