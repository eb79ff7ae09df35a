"""Invariants of processes and logs, checked in /proc and on the disk."""

import re
from collections import defaultdict
from pathlib import Path

from comfysup.logs.pipe import MAYBE_MORE
from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import until_async

TOLD = re.compile(
    rb"^(?:run (\d+) line (\d+)|(===) .* starts, generation \d+|(%s))$"
    % re.escape(MAYBE_MORE.encode()),
    re.MULTILINE,
)


def pids_of(daemon: Daemon) -> dict[int, tuple[int, int]]:
    """Return the instance and generation of each running process with a marker of this daemon."""
    word = (daemon.run_dir / "identity").read_bytes()
    marker = re.compile(rb"COMFYSUP_MARKER=" + word + rb":(\d+):(\d+)\0")
    found = {}
    for pid in daemon.processes():
        try:
            match = marker.search(Path(f"/proc/{pid}/environ").read_bytes())
        except OSError:
            continue
        if match and kernel.alive(pid):
            found[pid] = (int(match[1]), int(match[2]))
    return found


def leaders(daemon: Daemon) -> dict[int, int]:
    """Return the running processes that are leaders, and their instances."""
    return {
        pid: instance
        for pid, (instance, _) in pids_of(daemon).items()
        if kernel.stat(pid)[3:4] == [str(pid)] and _is_main(pid)
    }


def _is_main(pid: int) -> bool:
    try:
        return b"/main.py\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def check_owners(daemon: Daemon) -> None:
    """Assert that no instance runs twice and that, after sweeps, each process has an owner."""
    by_instance: dict[int, list[int]] = defaultdict(list)
    for pid, instance in leaders(daemon).items():
        by_instance[instance].append(pid)
    for instance, pids in by_instance.items():
        still = [pid for pid in pids if kernel.alive(pid)]
        assert len(still) < 2, f"instance {instance} twice: {pids}"

    async def all_owned() -> bool:
        found = pids_of(daemon)
        shown = {each["id"]: each["generation"] for each in await daemon.api.show_all()}
        return all(
            shown.get(instance) == generation or not kernel.alive(pid)
            for pid, (instance, generation) in found.items()
        )

    try:
        await until_async(all_owned)
    except AssertionError:
        raise AssertionError(
            f"without an owner: {pids_of(daemon)}, {await daemon.api.show_all()}"
        ) from None


def check_alone(daemon: Daemon) -> None:
    """Assert that no run began while processes of an earlier run of the same instance existed."""
    doubled = [str(path) for path in daemon.workspace.glob("ComfyUI-c*/doubled/*")]
    assert not doubled, f"began beside an earlier run: {doubled}"


def check_lines(daemon: Daemon, number: int) -> None:
    """Each line of each run once and in order; `lines/` holds how many each had written.

    A FIFO is empty once nobody holds it. So the last lines of a run may be missing that ended while
    no daemon ran, and where they are, the log says so.
    """
    name = f"comfyui_instance_{number}.log"
    files = sorted(daemon.log_dir.glob(f"{name}*"), key=lambda path: -_age(path))
    logged = Logged(b"".join(file.read_bytes() for file in files))
    unnamed = 0
    for file in (daemon.workspace / f"ComfyUI-c{number}" / "lines").iterdir():
        run, written = int(file.name), int(file.read_bytes() or b"0")
        lines = logged.lines.pop(run, [])
        # The last one may have been written and not counted any more.
        found = (f"instance {number}, run {run}, {written} written", lines)
        assert lines == list(range(len(lines))), found
        assert len(lines) <= written + 1, found
        if len(lines) < written:
            assert not lines or run in logged.incomplete, found
            unnamed += not lines
    assert not logged.lines, f"instance {number}: lines of runs that never were: {[*logged.lines]}"
    assert unnamed <= logged.notes, f"instance {number}: {unnamed} runs without a word"


class Logged:
    """What a log tells: the lines of each run; `incomplete` are those that may miss the last ones.

    `notes` is how often it says that.
    """

    def __init__(self, content: bytes) -> None:
        self.lines: dict[int, list[int]] = defaultdict(list)
        self.incomplete: set[int] = set()
        self.notes = 0
        last: int | None = None  # the run that wrote last in the present generation
        for run, line, heading, note in TOLD.findall(content):
            if run:
                last = int(run)
                self.lines[last].append(int(line))
            elif heading:
                last = None
            elif note:
                self.notes += 1
                if last is not None:
                    self.incomplete.add(last)


def _age(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix != ".log" else 0
