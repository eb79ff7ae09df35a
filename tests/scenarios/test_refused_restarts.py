"""Restarts in place that are refused, interrupted or lack an output."""

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import SERVE as SERVE_COMMAND
from tests.scenarios.harness import Daemon
from tests.scenarios.restarts import has_started
from tests.scenarios.waiting import until


def remove_the_token(daemon: Daemon) -> None:
    (daemon.root / "token").unlink()


def break_the_instances_file(daemon: Daemon) -> None:
    (daemon.root / "instances.json").write_text("{ broken")


def break_the_program(daemon: Daemon) -> None:
    (daemon.root / "modules" / "aiohttp.py").write_text("raise ImportError('half an upgrade')")


SPOILERS = {
    "COMFYSUP_TOKEN_FILE cannot be read": remove_the_token,
    "instances.json": break_the_instances_file,
    "half an upgrade": break_the_program,
}


@pytest.mark.parametrize(("reason", "spoil"), SPOILERS.items(), ids=SPOILERS)
async def test_a_restart_in_place_that_would_fail_is_refused(
    daemon: Daemon, reason: str, spoil: Callable[[Daemon], None]
) -> None:
    """Over HTTP, by SIGHUP, and on the command line; every reason is reported."""
    (daemon.root / "modules").mkdir()
    (daemon.root / "token").write_text("hunter2")
    await daemon.start(
        variables={
            "COMFYSUP_TOKEN_FILE": str(daemon.root / "token"),
            "PYTHONPATH": str(daemon.root / "modules"),
        }
    )
    spoil(daemon)

    refused = await daemon.api.ask("POST", f"{API}/daemon/restart")
    daemon.signal(signal.SIGHUP)
    await until(lambda: len(daemon.events("daemon.restart_refused")) == 2)
    environ = {**os.environ, "COMFYSUP_RUN_DIR": str(daemon.run_dir)}
    command = await asyncio.create_subprocess_exec(
        *SERVE_COMMAND[:-1], "daemon", "restart", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await command.communicate()

    assert (refused.status, refused.body["code"]) == (409, "restart_refused")
    assert reason in refused.body["detail"]
    assert reason in said.decode()
    assert command.returncode == 1
    assert len(daemon.events("daemon.started")) == 1
    assert (await daemon.api.ask("GET", "/livez")).status == 200


async def test_sigterm_is_handled_during_the_check_of_a_restart(daemon: Daemon) -> None:
    modules = daemon.root / "modules"
    modules.mkdir()
    await daemon.start(variables={"PYTHONPATH": str(modules)})
    (modules / "aiohttp.py").write_text("import time; time.sleep(3600)")
    asking = asyncio.create_task(daemon.api.ask("POST", f"{API}/daemon/restart"))
    await until(lambda: bool(kernel.children(daemon.pid)))

    daemon.signal(signal.SIGTERM)

    assert await daemon.ended() == 0
    answer = await asking
    assert (answer.status, answer.body["code"]) == (503, "shutting_down")


async def test_a_restart_in_place_succeeds_with_closed_and_full_outputs(daemon: Daemon) -> None:
    for number, output in enumerate(('exec "$@" >&-', 'exec "$@" > /dev/full')):
        await daemon.start("sh", "-c", output, "sh")
        before = len(daemon.events("daemon.started"))
        daemon.signal(signal.SIGHUP)
        await until(partial(has_started, daemon, before + 1))
        assert before == 2 * number + 1
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
