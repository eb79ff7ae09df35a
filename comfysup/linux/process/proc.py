"""What /proc tells of processes, as far as supervision needs it in microseconds."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from comfysup.model.printable import printable_line

MARKER = "COMFYSUP_MARKER"

PF_EXITING = 0x4
PF_KTHREAD = 0x200000
"""Flags of a process (include/linux/sched.h) that exits, and of a thread of the kernel's own."""

EXEC_PATIENCE = 0.5
"""Seconds for which the variables of a process in the middle of execve(2) are waited for."""


_FAMILY = Lock()
"""Held while children of this process are listed, and while one of them is reaped.

The kernel lists children piece by piece and finds its place again by counting (`get_children_pid`
in its fs/proc/array.c): where one that it has passed goes meanwhile, it passes over a living one.
"""


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/PID/stat (proc(5)) that tells processes apart.

    `start_time` is in clock ticks since boot: with the pid it names a process for good.
    `environment_size` is that of its variables in bytes: None in the middle of execve(2), when the
    old ones are gone and the new not there yet, and where this process may not know.
    """

    state: str
    parent: int
    group: int
    session: int
    start_time: int
    flags: int = 0
    environment_size: int | None = None
    threads: int = 1

    @property
    def ended(self) -> bool:
        """Whether it is a zombie, or dead; not while another thread than the main one lives."""
        return self.state in "ZX" and self.threads <= 1

    @property
    def exiting(self) -> bool:
        """Whether it has begun to exit: its variables and descriptors may be gone already."""
        return self.ended or bool(self.flags & PF_EXITING and self.threads <= 1)

    @property
    def has_no_environment(self) -> bool:
        """Whether it has no variables and, unless it executes another program, gets none."""
        return self.exiting or bool(self.flags & PF_KTHREAD) or self.environment_size == 0


def read_stat(pid: int) -> Stat | None:
    """Return the stat of a process, or None when there is none or it is hidden (hidepid=1)."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name stands in parentheses and may hold anything, parentheses too.
    fields = text[text.rindex(b")") + 2 :].split()
    parent, group, session = map(int, fields[1:4])
    start_time, flags, code, begin, end, threads = (
        int(fields[index]) for index in (19, 6, 23, 47, 48, 17)
    )
    # The kernel writes the address of the code last (`load_elf_binary` in its fs/binfmt_elf.c).
    size = end - begin if code and end else None
    return Stat(fields[0].decode(), parent, group, session, start_time, flags, size, threads)


def _read(path: str) -> bytes:
    """Read a file of /proc whole; a third of the time that pathlib takes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(file, 1 << 16)
        while more := os.read(file, 1 << 16):
            content += more
    finally:
        os.close(file)
    return content


def read_marker(pid: int) -> str | None:
    """Return the marker that a process was started with; None where it has none or hides it.

    In the middle of execve(2) a process has no variables. It is asked again for EXEC_PATIENCE, so
    the call can take that long: it belongs in a thread.
    """
    try:
        environment = _read_environment(pid)
    except OSError:
        return None
    prefix = f"{MARKER}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(prefix):
            return variable.removeprefix(prefix).decode(errors="replace")
    return None


def _read_environment(pid: int) -> bytes:
    """Read the variables of a process, empty where it has none; OSError where it hides them."""
    deadline = time.monotonic() + EXEC_PATIENCE
    while True:
        environment = b""
        with suppress(ProcessLookupError):  # its main thread has ended, at least
            environment = _read(f"/proc/{pid}/environ")
        if environment or time.monotonic() > deadline:
            return environment
        stat = read_stat(pid)
        if stat is None or stat.has_no_environment:
            return environment
        if stat.state in "ZX":
            return _read(f"/proc/{living_thread(pid)}/environ")
        time.sleep(0.001)


def living_thread(pid: int) -> str:
    """Return how /proc names a thread of a process whose main one has ended; raises OSError.

    What the threads share, the files and the memory, is not shown under the main one then.
    """
    threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - half the time
    return next((f"{pid}/task/{each}" for each in threads if each != str(pid)), str(pid))


@dataclass(frozen=True, slots=True)
class Command:
    """What a process was started as; `environ` may hold secrets."""

    argv: tuple[str, ...]
    cwd: Path
    environ: dict[str, str] = field(repr=False)


def read_command(pid: int) -> Command | None:
    """Return what a process was started as, or None when it is gone or somebody else's."""
    try:
        environ = _read_environment(pid)  # first: it waits for the end of an execve(2)
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
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
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return children


def own_orphans() -> list[int]:
    """Return the processes that the kernel has given to this one, and children from before an exec.

    The kernel gives orphans to the first living thread (`find_new_reaper` in its exit.c), which is
    the main one. What other threads start are their own children: leaders, and what is still in the
    making, which only the thread that makes it may reap.
    """
    return children_of_thread(os.getpid())


def children_of_thread(thread: int) -> list[int]:
    """Return the direct children of one thread of this process, zombies too."""
    path = Path(f"/proc/{os.getpid()}/task/{thread}/children")
    with _FAMILY:
        return [*map(int, path.read_bytes().split())]


def reap(kind: int, number: int) -> None:
    """Let go of a child that has ended, by what waitid(2) takes; any other is left alone."""
    with _FAMILY, suppress(ChildProcessError):
        os.waitid(kind, number, os.WEXITED | os.WNOHANG)


def all_pids() -> list[int]:
    """Return every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - likewise


def read_owner(pid: int) -> str | None:
    """Return which user a process belongs to: `root` or a number; None when it is gone.

    Other names are not looked up, since that may ask a directory server.
    """
    try:
        uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - as everything here
    except OSError:
        return None
    return "root" if uid == 0 else str(uid)


def read_name(pid: int) -> str:
    """Return the short name of a process, harmless on a terminal; "?" when it is gone."""
    try:
        name = _read(f"/proc/{pid}/comm")
    except OSError:
        return "?"
    return printable_line(name.decode(errors="replace").removesuffix("\n"))


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open descriptor; `inode` is None where the kernel does not tell (before Linux 5.14)."""

    can_write: bool
    inode: int | None


def read_open_file(process: int | str, descriptor: str) -> OpenFile | None:
    """Return what /proc tells of a descriptor (proc(5), fdinfo), None where it is gone or hidden.

    Unlike `stat`, this asks the kernel alone, and not the disk that the file lies on.
    """
    try:
        info = _read(f"/proc/{process}/fdinfo/{descriptor}")
    except OSError:
        return None
    flags = re.search(rb"^flags:\s*([0-7]+)", info, re.MULTILINE)
    inode = re.search(rb"^ino:\s*([0-9]+)", info, re.MULTILINE)
    can_write = flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return OpenFile(can_write, int(inode[1]) if inode else None)


def output_of(pid: int, start_time: int, fifo: Path) -> Path | None:
    """Return a path to a FIFO that is the stdout of that process, also after its removal.

    `fifo` is the path that it had. Other files are not looked at, since the disk that they lie on
    may not answer.
    """
    output = Path(f"/proc/{pid}/fd/1")
    stat = read_stat(pid)
    if stat is None or stat.start_time != start_time:
        return None
    try:
        target = str(output.readlink()).removesuffix(" (deleted)")
        is_ours = target == f"{fifo.parent.resolve()}/{fifo.name}" and output.is_fifo()
    except OSError:
        return None
    return output if is_ours else None
