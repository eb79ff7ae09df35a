"""How often the kernel has killed a process of this container for want of memory.

cgroup v2 counts that in `memory.events` (`oom_kill`, those of groups below included), v1 in
`memory.oom_control`, since Linux 4.13. Where neither is there, nothing is known.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


class OomKills:
    """The counter, and which of its kills have been put down to somebody already."""

    def __init__(self, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
        """Find the counter of the group that this process is in."""
        self._file = next(filter(_counts, _candidates(root, membership)), None)
        self._claimed = self.count()

    def count(self) -> int:
        """Return how many there were; 0 where that cannot be known."""
        return _read(self._file) if self._file else 0

    def claim(self, since: int) -> bool:
        """Say whether there was one after `since` (a `count`) that nobody has claimed, and do so.

        For a process that was ended by SIGKILL: each kill by the kernel explains one such end.
        """
        explained = max(since, self._claimed)
        if self.count() <= explained:
            return False
        self._claimed = explained + 1
        return True


def _candidates(root: Path, membership: Path) -> Iterator[Path]:
    """Yield where the counter may be: the own group as the host names it, then as seen here."""
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
