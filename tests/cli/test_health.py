"""`comfysup health`, as a container runs it every few seconds."""

import os
import signal

from tests.cli.shell import Shell
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import NEVER_READY, Program
from tests.scenarios.waiting import until_async


async def test_a_ready_instance_that_does_not_respond_is_unhealthy(
    daemon: Daemon, shell: Shell
) -> None:
    """Every probe of a stopped process fails; it is unresponsive after twelve of them."""
    await daemon.api.start(0, daemon.ports.reserve(), probe_period=0.1, probe_timeout=0.2)
    pid = (await daemon.api.show(0))["pid"]
    before = await shell.run("health", "--instance", 0)
    os.kill(pid, signal.SIGSTOP)

    async def fails() -> bool:
        return (await daemon.api.show(0))["health"]["live"] is False

    try:
        await until_async(fails)
        alone = await shell.run("health", "--instance", 0)
        both = await shell.run("health", "--ready", "--instance", 0)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert (before.code, before.out) == (0, "healthy\n")
    assert (alone.code, both.code) == (1, 1)
    assert "instance 0 'instance_0' does not answer: " in alone.err
    assert alone.err.endswith(" failed in a row\n")


async def test_health_names_the_instances_that_are_not_ready(daemon: Daemon, shell: Shell) -> None:
    Program(daemon.workspace, "slow", NEVER_READY)
    await daemon.api.start(
        0, daemon.ports.reserve(), name="a", environment="slow", wait={"wait": "spawn"}
    )

    every = await shell.run("health", "--ready")
    alone = await shell.run("health", "--instance", "a")

    assert (every.code, every.err) == (1, "unhealthy: not ready: 0 'a': starting\n")
    assert (alone.code, alone.err) == (1, "unhealthy: instance 0 'a' is not ready: starting\n")


async def test_two_instances_are_refused_and_not_only_the_last_judged(shell: Shell) -> None:
    for second in (("--instance", "1"), ("--instance=1",)):
        done = await shell.run("health", "--instance", "0", *second)

        assert done.code == 2
        assert done.err.startswith("comfysup health: --instance is given twice")
