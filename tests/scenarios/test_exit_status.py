"""Exit statuses are reported correctly, as by tini: scenarios 2 and 17."""

import asyncio
import signal
from typing import Any

import pytest

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until

AT_ONCE = 16
HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
DEADLY = sorted(set(signal.valid_signals()) - HARMLESS - STOPPING)

# Makes orphans that end at once with codes of their own, and only then ends itself.
ORPHANS = """
import os, sys
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        middle = os.getpid()
        if os.fork() == 0:
            while os.getppid() == middle:
                os.sched_yield()
            os._exit((number + 100) % 256)
        os._exit(0)
    os.wait()
"""


def name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def run_to_the_end(daemon: Daemon, number: int, environment: str) -> dict[str, Any]:
    """Start an instance that is not restarted, and return its exit."""
    answer = await daemon.api.start(
        number, daemon.ports.reserve(), environment=environment, restart="never"
    )
    assert answer.status == 500, answer
    # Its end is known before it has been swept; what is asked for has ended then.
    await daemon.api.act(number, "stop")
    end: dict[str, Any] = (await daemon.api.show(number))["last_exit"]
    return end


@pytest.mark.parametrize("orphans", [False, True], ids=["alone", "with orphans"])
async def test_every_exit_code_is_reported(daemon: Daemon, *, orphans: bool) -> None:
    """Scenarios 2 and 17: all 256, sixteen at a time, also while orphans with other codes are
    reaped beside them."""
    orphan = "(sh -c 'exit 99' &) ; (exit 98) & " if orphans else ""
    for code in range(256):
        Program(daemon.workspace, f"code-{code}", script=f"{orphan} exit {code}")
    await daemon.start()
    ends: list[dict[str, Any]] = []

    for first in range(0, 256, AT_ONCE):
        codes = range(first, first + AT_ONCE)
        ends += await asyncio.gather(
            *(run_to_the_end(daemon, code, f"code-{code}") for code in codes)
        )

    assert list(range(256)) == [end["exit_code"] for end in ends]
    assert {None} == {end["signal"] for end in ends}
    await until(lambda: not kernel.zombies_of(daemon.pid))


async def test_every_signal_is_reported(daemon: Daemon) -> None:
    """Scenario 2: all terminating signals, including the unnamed real-time signals."""
    for number in DEADLY:
        Program(daemon.workspace, f"signal-{number}", script=f"kill -{number} $$; sleep 60")
    await daemon.start()

    ends = await asyncio.gather(
        *(run_to_the_end(daemon, number, f"signal-{number}") for number in DEADLY)
    )

    assert [name_of(number) for number in DEADLY] == [end["signal"] for end in ends]
    assert {None} == {end["exit_code"] for end in ends}


async def test_a_hundred_orphans_leave_no_zombie_and_hide_no_exit_code(daemon: Daemon) -> None:
    """Scenario 17: eight instances leave a hundred orphans each, which end at the same time."""
    orphans = f"'<python>' -I -S -c '{ORPHANS}' 100;"
    for code in range(41, 49):
        Program(daemon.workspace, f"code-{code}", script=f"{orphans} exit {code}")
    await daemon.start()

    ends = await asyncio.gather(
        *(run_to_the_end(daemon, code, f"code-{code}") for code in range(41, 49))
    )

    assert list(range(41, 49)) == [end["exit_code"] for end in ends]
    await until(lambda: not kernel.children(daemon.pid))


async def test_orphans_of_a_running_instance_are_reaped_while_it_runs(daemon: Daemon) -> None:
    """Scenario 17."""
    orphans = f"'<python>' -I -S -c '{ORPHANS}' 100;"
    Program(daemon.workspace, script=f"{orphans} say made; serve & wait")
    await daemon.start()

    await daemon.api.start(0, daemon.ports.reserve())

    await until(lambda: not kernel.zombies_of(daemon.pid))
    assert (await daemon.api.show(0))["state"] == "running"
