"""What is found out about the end of one process."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comfysup.app.instance_process import InstanceProcess, RunArtifacts
from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.process.pidfd import ExitStatus


class Process:
    """A process that SIGKILL has ended."""

    async def ended(self) -> ExitStatus:
        return ExitStatus(signal=signal.SIGKILL)

    def signal_group(self, number: signal.Signals) -> None:
        pass


class Pipe:
    async def last_lines(self, _count: int) -> list[str]:
        return ["loading"]


@pytest.fixture
def killed(tmp_path: Path) -> InstanceProcess:
    """A process in a group in which the kernel has killed something meanwhile."""
    membership, counter = tmp_path / "self", tmp_path / "memory.events"
    membership.write_text("0::/\n")
    counter.write_text("oom_kill 0\n")
    kills = OomKills(tmp_path, membership)
    counter.write_text("oom_kill 1\n")
    artifacts = RunArtifacts(
        cast("Any", None),
        cast("Any", None),
        cast("Any", SimpleNamespace(known=Circumstances())),
        kills,
        earlier_kills=0,
    )
    return InstanceProcess(cast("Any", Process()), cast("Any", Pipe()), artifacts)


async def test_a_kill_by_the_kernel_for_memory_is_told(killed: InstanceProcess) -> None:
    assert (await killed.ended()).exit.reason == "host_out_of_memory"


async def test_a_kill_that_comfysup_sent_is_not_put_down_to_the_kernel(
    killed: InstanceProcess,
) -> None:
    killed.signal_group(signal.SIGKILL)

    assert (await killed.ended()).exit.reason == "signal"
