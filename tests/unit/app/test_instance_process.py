"""The exit record of one process."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from comfysup.app.instance_process import InstanceProcess, RunArtifacts
from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.comfyui.diagnosis.diagnosis import TAIL_LINES
from comfysup.comfyui.reboot import RebootRequest
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.process.pidfd import ExitStatus
from comfysup.supervision.life import Exit

KILLED = ExitStatus(signal=signal.SIGKILL)
REFUSED = "main.py: error: unrecognized arguments: --lowvran"


class Process:
    """A process that has exited with that status."""

    def __init__(self, status: ExitStatus) -> None:
        self._status = status

    async def ended(self) -> ExitStatus:
        return self._status

    def signal_group(self, number: signal.Signals) -> None:
        pass


class Pipe:
    """A log with those lines, or None if it cannot be read."""

    def __init__(self, lines: Sequence[str] | None) -> None:
        self._lines = lines

    async def last_lines(self, count: int) -> Sequence[str] | None:
        return self._lines if self._lines is None else self._lines[-count:]


class Files:
    """The files of an environment; `looks` counts the reads."""

    known = Circumstances()

    def __init__(self) -> None:
        self.looks = 0

    async def circumstances(self, _lines: Sequence[str]) -> Circumstances:
        self.looks += 1
        return Circumstances(flags=frozenset({"--lowvram"}))


class Ended:
    """An exited process in a cgroup in which the kernel has killed a process."""

    def __init__(
        self, where: Path, status: ExitStatus, lines: Sequence[str] | None = ("loading",)
    ) -> None:
        membership, counter = where / "self", where / "memory.events"
        membership.write_text("0::/\n")
        counter.write_text("oom_kill 0\n")
        kills = OomKills(where, membership)
        counter.write_text("oom_kill 1\n")
        self.files = Files()
        self.reboot = RebootRequest(where / "session")
        artifacts = RunArtifacts(
            cast("Any", None), self.reboot, cast("Any", self.files), kills, earlier_kills=0
        )
        pipe = cast("Any", Pipe(lines))
        self.process = InstanceProcess(cast("Any", Process(status)), pipe, artifacts)

    async def exit(self) -> Exit:
        return await self.process.ended()


async def test_a_kernel_kill_for_memory_is_host_out_of_memory(tmp_path: Path) -> None:
    end = await Ended(tmp_path, KILLED).exit()

    assert (end.reason, end.signal, end.exit_code) == ("host_out_of_memory", "SIGKILL", None)


async def test_a_kill_by_comfysup_is_not_attributed_to_the_kernel(tmp_path: Path) -> None:
    killed = Ended(tmp_path, KILLED)
    killed.process.signal_group(signal.SIGKILL)

    assert (await killed.exit()).reason == "signal"


async def test_an_exit_record_contains_everything_but_the_prompts(tmp_path: Path) -> None:
    before = time.time()
    end = await Ended(tmp_path, ExitStatus(code=2), ["loading", REFUSED]).exit()

    assert before <= end.at <= time.time()
    assert end == Exit(
        end.at,
        "unknown_argument",
        "unknown arguments: --lowvran",
        exit_code=2,
        hint=end.hint,
        log_tail=("loading", REFUSED),
        permanent=True,
    )
    assert "--lowvram" in end.hint


async def test_the_tail_shows_only_the_last_of_the_examined_lines(tmp_path: Path) -> None:
    lines = [REFUSED, *(f"line {number}" for number in range(TAIL_LINES))]
    end = await Ended(tmp_path, ExitStatus(code=2), lines).exit()

    assert end.log_tail == tuple(lines[1:])


async def test_a_log_that_could_not_be_read_in_time_is_reported(tmp_path: Path) -> None:
    end = await Ended(tmp_path, ExitStatus(code=3), None).exit()

    assert end.message == (
        "exited unexpectedly with code 3; its last lines could not be read in time"
    )
    assert end.log_tail == ()


async def test_an_unavailable_exit_status_stays_unknown(tmp_path: Path) -> None:
    end = await Ended(tmp_path, ExitStatus(), []).exit()

    assert (end.exit_code, end.signal) == (None, None)
    assert (end.reason, end.message) == ("exit", "exited; exit status unavailable")


async def test_a_signal_without_a_name_is_reported_by_number(tmp_path: Path) -> None:
    assert (await Ended(tmp_path, ExitStatus(signal=40)).exit()).signal == "signal 40"


async def test_a_reboot_is_an_expected_exit_regardless_of_the_log(tmp_path: Path) -> None:
    rebooting = Ended(tmp_path, ExitStatus(code=0), None)
    rebooting.reboot.path.touch()
    end = await rebooting.exit()

    assert end == Exit(end.at, "reboot", "requested by ComfyUI", exit_code=0, expected=True)
    assert end.reboot
    assert not rebooting.reboot.path.exists()


async def test_an_exit_with_0_without_a_request_is_no_reboot(tmp_path: Path) -> None:
    end = await Ended(tmp_path, ExitStatus(code=0)).exit()

    assert (end.reboot, end.expected, end.reason) == (False, False, "exit")


async def test_a_crash_after_a_reboot_request_is_a_crash(tmp_path: Path) -> None:
    crashed = Ended(tmp_path, ExitStatus(code=1))
    crashed.reboot.path.touch()

    assert not (await crashed.exit()).reboot
    assert crashed.reboot.path.exists()


async def test_files_are_examined_only_if_the_exit_status_needs_an_explanation(
    tmp_path: Path,
) -> None:
    looks = {}
    for status in (ExitStatus(code=1), ExitStatus(), ExitStatus(code=0), KILLED):
        ended = Ended(tmp_path, status)
        await ended.exit()
        looks[status] = ended.files.looks

    assert list(looks.values()) == [1, 1, 0, 0]
