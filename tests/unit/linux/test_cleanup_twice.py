"""A repeated cleanup does not act on reused descriptors."""

import os
import signal
from pathlib import Path

from comfysup.linux.process.pidfd import Pidfd
from comfysup.linux.process.process import Process
from comfysup.linux.process.reaper import Reaper
from tests.unit.linux.children import alive, child, spawn, sweeps, wait_ended


async def test_a_closed_handle_does_not_act_on_a_reused_descriptor() -> None:
    gone = spawn("true")
    pidfd = Pidfd(gone)
    wait_ended(gone)
    pidfd.reap()
    number = pidfd._fd
    pidfd.close()
    with child("sleep", "60") as pid:
        other = Pidfd(pid)
        assert number == other._fd

        pidfd.send(signal.SIGKILL)
        assert pidfd.signal_group(signal.SIGKILL, is_ours=True)
        await pidfd.ended()
        assert not pidfd.peek().known
        pidfd.reap()
        pidfd.close()

        assert alive(pid)
        os.fstat(number)  # still open
        other.close()


async def test_a_second_sweep_does_nothing(reaper: Reaper, tmp_path: Path) -> None:
    def start(marker: str) -> Process:
        with (tmp_path / marker).open("wb") as file:
            return Process.spawn(
                ["sleep", "60"],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"]},
                output=file.fileno(),
                marker=marker,
                reaper=reaper,
                sweeps=sweeps(),
            )

    one = start("a:0:1")
    await one.sweep()
    other = start("a:1:1")

    one.signal_group(signal.SIGKILL)
    await one.sweep()

    assert one.remnants() == []
    assert alive(other.pid)
    await other.sweep()
