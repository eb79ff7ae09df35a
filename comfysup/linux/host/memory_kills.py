"""Counts the processes of this container that the kernel's OOM killer has killed.

cgroup v2 has the counter in `memory.events` (`oom_kill`, including child groups). v1 has it in
`memory.oom_control` since Linux 4.13. Without either file the count is always 0.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


class OomKills:
    """The OOM kill counter, and how many of its kills have been claimed."""

    def __init__(self, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
        """Find the counter of this process' cgroup."""
        self._file = next(filter(_counts, _candidates(root, membership)), None)
        self._claimed = self.count()

    def count(self) -> int:
        """Return the number of OOM kills, or 0 if it is unknown."""
        return _read(self._file) if self._file else 0

    def claim(self, since: int) -> bool:
        """Claim an unclaimed OOM kill after `since`, a `count`. Return False if there is none.

        Called for a process that SIGKILL has ended. Each OOM kill explains one such process.
        """
        explained = max(since, self._claimed)
        if self.count() <= explained:
            return False
        self._claimed = explained + 1
        return True


def _candidates(root: Path, membership: Path) -> Iterator[Path]:
    """Yield possible counter files: by the host's path of this cgroup, then by the container's."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield root / path.lstrip("/") / "memory.events"
            yield root / "unified" / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield root / "memory" / path.lstrip("/") / "memory.oom_control"
    yield root / "memory.events"
    yield root / "memory" / "memory.oom_control"


def _counts(file: Path) -> bool:
    try:
        return "oom_kill " in file.read_text("ascii")
    except (OSError, ValueError):
        return False


def _read(file: Path) -> int:
    try:
        lines = file.read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
