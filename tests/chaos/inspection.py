"""What must be true of processes and logs, by the kernel's word and that of the disk."""

import re
from collections import defaultdict
from pathlib import Path

from tests.scenarios import kernel
from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import until_async

LINE = re.compile(rb"^run (\d+) line (\d+)$", re.MULTILINE)


def pids_of(daemon: Daemon) -> dict[int, tuple[int, int]]:
    """The living processes that bear a marker of this daemon: their instance and generation."""
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
    """The living processes that are instances themselves, and of which."""
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
    """No instance twice, now; no process without an owner, as soon as what is swept is gone."""
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
        await until_async(all_owned, 10)
    except AssertionError:
        raise AssertionError(
            f"without an owner: {pids_of(daemon)}, {await daemon.api.show_all()}"
        ) from None


def check_lines(daemon: Daemon, number: int, gaps: list[tuple[float, float]]) -> None:
    """Each line of each run once and in order; `lines/` holds how many each had written.

    What was written in one of the `gaps`, between two daemons, by one that did not outlive it, is
    lost: a FIFO is empty once nobody holds it.
    """
    name = f"comfyui_instance_{number}.log"
    files = sorted(daemon.log_dir.glob(f"{name}*"), key=lambda path: -_age(path))
    logged: dict[int, list[int]] = defaultdict(list)
    for run, line in LINE.findall(b"".join(file.read_bytes() for file in files)):
        logged[int(run)].append(int(line))
    for file in (daemon.workspace / f"ComfyUI-c{number}" / "lines").iterdir():
        written = int(file.read_bytes() or b"0")
        lines = logged.pop(int(file.name), [])
        # The last one may have been written and not counted any more.
        assert lines == list(range(len(lines))), f"instance {number}, run {file.name}: {lines}"
        at = file.stat().st_mtime
        if not any(begin <= at <= end for begin, end in gaps) or len(lines) > written:
            assert len(lines) - written in {0, 1}, (number, file.name, len(lines), written, gaps)
    assert not logged, f"instance {number}: lines of runs that never were: {list(logged)}"


def _age(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix != ".log" else 0
