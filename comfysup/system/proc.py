"""What /proc tells of processes, as far as supervision needs it in microseconds."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

MARKER = "COMFYSUP_MARKER"


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/PID/stat (proc(5)) that tells processes apart.

    `start_time` is in clock ticks since boot: with the pid it names a process for good.
    """

    state: str
    parent: int
    group: int
    session: int
    start_time: int

    @property
    def ended(self) -> bool:
        """Whether it is a zombie, or dead."""
        return self.state in "ZX"


def read_stat(pid: int) -> Stat | None:
    """Return the stat of a process, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, parentheses too.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def read_marker(pid: int) -> str | None:
    """Return the marker that a process was started with; None where it has none or hides it."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{MARKER}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(prefix):
            return variable.removeprefix(prefix).decode(errors="replace")
    return None


@dataclass(frozen=True, slots=True)
class Command:
    """What a process was started as; `environ` may hold secrets."""

    argv: tuple[str, ...]
    cwd: Path
    environ: dict[str, str] = field(repr=False)


def read_command(pid: int) -> Command | None:
    """Return what a process was started as, or None when it is gone or somebody else's."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        cwd = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    variables = (each.partition("=") for each in _words(environ))
    return Command(_words(argv), cwd, {name: value for name, _, value in variables})


def _words(text: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0"))


def age(start_time: int) -> float:
    """Return for how many seconds a process with that start time has been there."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return since_boot - start_time / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, zombies too."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - half the time
            path = Path(f"/proc/{pid}/task/{thread}/children")
            children += map(int, path.read_bytes().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children


def own_children() -> list[int]:
    """Return the direct children of this process, zombies too.

    All are those of its main thread: nothing else here starts processes, and the kernel gives
    orphans to the first living thread (`find_new_reaper` in its exit.c).
    """
    own = os.getpid()
    return [*map(int, Path(f"/proc/{own}/task/{own}/children").read_bytes().split())]


def all_pids() -> list[int]:
    """Return every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - likewise
