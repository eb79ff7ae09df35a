"""Where the kernel refuses pidfds; `make test-without-pidfds` runs all scenarios that way."""

import os
import signal

from tests.scenarios import kernel
from tests.scenarios.client import API
from tests.scenarios.harness import NO_PIDFDS, Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until


async def test_supervision_works_without_pidfds_and_reports_polling(daemon: Daemon) -> None:
    Program(daemon.workspace, script=f"sleep 3600 & say child $!; {SERVE}")
    await daemon.start(*NO_PIDFDS)
    await daemon.api.start(0, daemon.ports.reserve())

    os.kill((await daemon.api.show(0))["pid"], signal.SIGKILL)
    again = await daemon.api.until(0, state="running", generation=2)
    await daemon.kill()
    await daemon.start(*NO_PIDFDS)
    adopted = await daemon.api.until(0, state="running")
    stopped = await daemon.api.act(0, "stop")

    assert again["last_exit"]["signal"] == "SIGKILL"
    assert adopted["pid"] == again["pid"]
    assert stopped.body["state"] == "stopped"
    await until(lambda: not daemon.processes())
    facts = (await daemon.api.ask("GET", f"{API}/daemon")).body
    assert facts["process_handles"] == "polling"
    assert [each["reason"] for each in daemon.events("pidfd.refused")] == [os.strerror(1)] * 2
    assert not kernel.zombies_of(daemon.pid)
