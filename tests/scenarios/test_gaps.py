"""Time without supervision, while the daemon is dead or stopped, ends no instance."""

import asyncio
import os
import signal
from functools import partial

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.test_adoption import GATED, launch
from tests.scenarios.waiting import until

TIDY = "trap 'say INT; sleep 0.3; exit 0' INT; trap 'say TERM' TERM; say ready\n"
TIDY += "while :; do sleep 0.05; done"
STARTUP = 3.0


async def be_stopped(daemon: Daemon, seconds: float) -> None:
    """Stop the daemon for longer than any of its deadlines."""
    daemon.signal(signal.SIGSTOP)
    await until(lambda: kernel.stat(daemon.pid)[0] == "T")
    await asyncio.sleep(seconds)


async def test_an_instance_that_became_ready_between_two_daemons_is_kept(daemon: Daemon) -> None:
    """The next daemon starts after the deadline of the start, and probes first."""
    await daemon.start(startup_timeout=STARTUP)
    loading = await launch(daemon, 0, GATED)
    before = await daemon.api.until(0, state="starting")
    await daemon.kill()
    (loading.directory / "go").touch()
    await asyncio.sleep(STARTUP + 0.5)
    await daemon.start(startup_timeout=STARTUP)

    ready = await daemon.api.until(0, state="running")

    assert (ready["pid"], ready["generation"]) == (before["pid"], 1)


async def test_an_instance_that_became_ready_while_the_daemon_was_stopped_is_kept(
    daemon: Daemon,
) -> None:
    await daemon.start(startup_timeout=STARTUP)
    loading = await launch(daemon, 0, GATED)
    before = await daemon.api.until(0, state="starting")
    await be_stopped(daemon, STARTUP + 0.5)
    (loading.directory / "go").touch()
    daemon.signal(signal.SIGCONT)

    ready = await daemon.api.until(0, state="running")

    assert (ready["pid"], ready["generation"]) == (before["pid"], 1)
    (gap,) = daemon.events("daemon.stood_still")
    assert gap["seconds"] > STARTUP


async def test_an_instance_that_never_becomes_ready_still_times_out(daemon: Daemon) -> None:
    """After the gap exactly the remaining time is left."""
    await daemon.start(startup_timeout=STARTUP, max_failures=1, stop_grace=0.2)
    await launch(daemon, 0, "exec sleep 3600")
    await be_stopped(daemon, STARTUP + 0.5)
    daemon.signal(signal.SIGCONT)

    failed = await daemon.api.until(0, state="failed")

    assert failed["last_exit"]["reason"] == "startup_timeout"


async def test_the_signals_of_a_stop_keep_their_intervals_after_a_gap(daemon: Daemon) -> None:
    """It would have ended by itself, but was stopped together with the daemon (`docker pause`)."""
    await daemon.start(stop_grace=1.5)
    tidy = await launch(daemon, 0, TIDY)
    await until(partial(tidy.said, "ready"))
    pid = (await daemon.api.show(0))["pid"]
    os.killpg(pid, signal.SIGSTOP)
    await daemon.api.act(0, "stop", timeout=0)
    await be_stopped(daemon, 5.0)
    os.killpg(pid, signal.SIGCONT)
    daemon.signal(signal.SIGCONT)

    stopped = await daemon.api.until(0, state="stopped")

    assert (stopped["last_exit"]["exit_code"], stopped["last_exit"]["expected"]) == (0, True)
    assert not tidy.said("TERM")


async def test_the_signals_of_a_stop_keep_their_intervals_across_a_daemon_restart(
    daemon: Daemon,
) -> None:
    await daemon.start(stop_grace=1.5)
    tidy = await launch(daemon, 0, TIDY)
    await until(partial(tidy.said, "ready"))
    pid = (await daemon.api.show(0))["pid"]
    os.killpg(pid, signal.SIGSTOP)
    await daemon.api.act(0, "stop", timeout=0)
    await daemon.kill()
    await asyncio.sleep(3.0)
    await daemon.start(stop_grace=1.5)
    os.killpg(pid, signal.SIGCONT)

    stopped = await daemon.api.until(0, state="stopped")

    assert stopped["last_exit"]["expected"]
    assert not tidy.said("TERM")


async def test_a_gap_does_not_make_a_running_instance_unresponsive(daemon: Daemon) -> None:
    """One failed probe would be enough, and the daemon is stopped in the middle of each."""
    Program(daemon.workspace)
    await daemon.start(probe_period=0.05, probe_timeout=1, probe_failures=1)
    await daemon.api.start(0, daemon.ports.reserve())
    before = await daemon.api.show(0)
    for _ in range(3):
        await be_stopped(daemon, 2.0)
        daemon.signal(signal.SIGCONT)
        await until(lambda: kernel.stat(daemon.pid)[0] != "T")

    async def looked_at() -> bool:
        return bool((await daemon.api.show(0))["health"]["live"])

    assert await looked_at()
    after = await daemon.api.show(0)
    assert (after["pid"], after["generation"]) == (before["pid"], 1)
