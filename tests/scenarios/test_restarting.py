"""Restarts after crashes: scenarios 20 and 23."""

import os
import signal

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import SERVE, Program
from tests.scenarios.waiting import until

WARM_UP = 500
COUNTED = 1_500


async def test_a_killed_stable_instance_has_a_new_process_without_a_back_off(
    daemon: Daemon,
) -> None:
    """Scenario 20, nine times. `benchmarks` measures the milliseconds."""
    Program(daemon.workspace, script=f"[ -e $said ] || {{ say x; exit 1; }}; {SERVE}")
    await daemon.start(stable_after=0.01)
    await daemon.api.start(0, daemon.ports.reserve())

    for restarts in range(1, 10):
        # Stable once the failures are forgotten: the first is the one that it began with.
        shown = await daemon.api.until(
            0, state="running", restarts=restarts, consecutive_failures=0
        )
        os.kill(shown["pid"], signal.SIGKILL)
        await daemon.api.until(0, state="running", generation=restarts + 2)
    after = await daemon.api.show(0)

    assert len(daemon.events("instance.backoff")) == 1
    assert after["restarts"] == 10
    assert (
        after["last_exit"]["exit_code"],
        after["last_exit"]["signal"],
        after["last_exit"]["expected"],
    ) == (None, "SIGKILL", False)


async def test_a_requested_restart_is_no_failure(daemon: Daemon) -> None:
    """Scenario 20, by a caller: a new process, and no failure counted."""
    Program(daemon.workspace)
    await daemon.start()
    first = (await daemon.api.start(0, daemon.ports.reserve())).body["instance"]

    restarted = (await daemon.api.act(0, "restart")).body

    assert (restarted["state"], restarted["generation"]) == ("running", 2)
    assert (restarted["restarts"], restarted["consecutive_failures"]) == (0, 0)
    assert restarted["last_exit"]["expected"]
    assert first["pid"] != restarted["pid"]
    assert not kernel.alive(first["pid"])


POOLS = 20
"""Threads that the daemon may start when a busy machine lets calls wait; they stay for the next."""


def burden(pid: int) -> dict[str, int]:
    return {
        "descriptors": kernel.descriptors(pid),
        "zombies": len(kernel.zombies_of(pid)),
        "POOLS of threads": kernel.threads(pid) // POOLS,
    }


async def is_at_rest_as(before: dict[str, int], pid: int) -> None:
    """Wait until a process holds no more than before; a pool may have exceeded its size."""
    allowed = {**before, "POOLS of threads": before["POOLS of threads"] + 1}
    await until(lambda: all(now <= allowed[name] for name, now in burden(pid).items()))


async def test_a_thousand_restarts_leak_no_resources(daemon: Daemon) -> None:
    """Scenario 23: no more descriptors and zombies, and no thread for each restart; memory is that
    of the first 500, to a kB each. There are enough for one step of a megabyte, as allocators take
    it, not to matter."""
    ending = "case $$ in *[02468]) kill -9 $$ ;; esac; exit 1"
    program = Program(daemon.workspace, script=f"say x; sleep 3600 & {ending}")
    await daemon.start(backoff_initial=0.001, backoff_max=0.001, max_failures=10_000)
    await daemon.api.start(0, daemon.ports.reserve())
    await daemon.api.act(0, "stop")
    await until(lambda: not kernel.zombies_of(daemon.pid) and not daemon.open_outputs())
    before = burden(daemon.pid)

    await daemon.api.act(0, "start")
    await lives(program, WARM_UP)
    memory = kernel.resident_bytes(daemon.pid)
    await lives(program, WARM_UP + COUNTED)
    grown = kernel.resident_bytes(daemon.pid) - memory
    await daemon.api.act(0, "stop")
    await is_at_rest_as(before, daemon.pid)

    assert grown < COUNTED * 1024
    assert not daemon.processes()
    assert not list((daemon.run_dir / "fifo").iterdir())


async def lives(program: Program, count: int) -> None:
    """Wait for that number of starts, one after another."""
    for number in range(1, count + 1):
        await until(lambda number=number: len(program.said("x")) >= number)  # type: ignore[misc]


async def test_fifty_crashes_of_a_ready_instance_leak_no_resources(
    daemon: Daemon,
) -> None:
    """Scenario 23, with probes and their connections between the crashes."""
    Program(daemon.workspace, script="(setsid sleep 3600 &);" + SERVE)
    await daemon.start(backoff_initial=0.001, backoff_max=0.001, max_failures=10_000)
    await daemon.api.start(0, daemon.ports.reserve())

    async def crash(times: int) -> None:
        shown = await daemon.api.show(0)
        for generation in range(shown["generation"], shown["generation"] + times):
            shown = await daemon.api.until(0, state="running", generation=generation)
            os.kill(shown["pid"], signal.SIGKILL)
        await daemon.api.until(0, state="running", generation=shown["generation"] + 1)

    await crash(10)
    await until(lambda: len(daemon.open_outputs()) == 1)
    before, memory = burden(daemon.pid), kernel.resident_bytes(daemon.pid)
    await crash(50)
    await is_at_rest_as(before, daemon.pid)

    assert kernel.resident_bytes(daemon.pid) - memory < 1 << 20
