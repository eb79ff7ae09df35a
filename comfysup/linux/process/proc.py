"""Reads processes from /proc, in microseconds each."""

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
"""Flags (include/linux/sched.h) of an exiting process and of a kernel thread."""

EXEC_PATIENCE = 0.5
"""Seconds to wait for the variables of a process that is within execve(2)."""


_FAMILY = Lock()
"""Held while the children of this process are listed, and while one of them is reaped.

The kernel lists children in chunks and resumes by count (`get_children_pid` in its
fs/proc/array.c). If a listed child is reaped in between, a living one is skipped.
"""


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat (proc(5)) that identify a process.

    `start_time` is in clock ticks since boot and, with the pid, identifies a process permanently.
    `environment_size` is the size of the variables in bytes. It is None within execve(2), when the
    old variables are gone and the new ones are missing, and if this process may not read it.
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
        """Return whether it is a zombie or dead; False while any other thread lives."""
        return self.state in "ZX" and self.threads <= 1

    @property
    def exiting(self) -> bool:
        """Return whether it has begun to exit; its variables and descriptors may be gone."""
        return self.ended or bool(self.flags & PF_EXITING and self.threads <= 1)

    @property
    def has_no_environment(self) -> bool:
        """Return whether it has no variables and gets none without another execve(2)."""
        return self.exiting or bool(self.flags & PF_KTHREAD) or self.environment_size == 0


def read_stat(pid: int) -> Stat | None:
    """Return the stat of a process, or None if it is gone or hidden (hidepid=1)."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name stands in parentheses and can itself contain parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    parent, group, session = map(int, fields[1:4])
    start_time, flags, code, begin, end, threads = (
        int(fields[index]) for index in (19, 6, 23, 47, 48, 17)
    )
    # The kernel sets the code address last (`load_elf_binary` in its fs/binfmt_elf.c).
    size = end - begin if code and end else None
    return Stat(fields[0].decode(), parent, group, session, start_time, flags, size, threads)


def _read(path: str) -> bytes:
    """Return the whole content of a /proc file, in a third of pathlib's time."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(file, 1 << 16)
        while more := os.read(file, 1 << 16):
            content += more
    finally:
        os.close(file)
    return content


def read_marker(pid: int) -> str | None:
    """Return the marker that a process was started with, or None if it has none or hides it.

    Within execve(2) a process has no variables, so the read is repeated for up to EXEC_PATIENCE.
    Call this in a thread.
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
    """Return the variables of a process, b"" if it has none. Raises OSError if they are hidden."""
    deadline = time.monotonic() + EXEC_PATIENCE
    while True:
        environment = b""
        with suppress(ProcessLookupError):  # at least the main thread has ended
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
    """Return the /proc name of a living thread of a process whose main thread has ended.

    /proc shows the shared files and memory under that thread only. Raises OSError.
    """
    threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - half the time
    return next((f"{pid}/task/{each}" for each in threads if each != str(pid)), str(pid))


@dataclass(frozen=True, slots=True)
class Command:
    """The command that a process was started with. `environ` may contain secrets."""

    argv: tuple[str, ...]
    cwd: Path
    environ: dict[str, str] = field(repr=False)


def read_command(pid: int) -> Command | None:
    """Return the command of a process, or None if it is gone or not readable."""
    try:
        environ = _read_environment(pid)  # first: waits for the end of an execve(2)
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
        cwd = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    variables = (each.partition("=") for each in _words(environ))
    return Command(_words(argv), cwd, {name: value for name, _, value in variables})


def _words(text: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0"))


def age(start_time: int) -> float:
    """Return the age in seconds of a process with that start time."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return since_boot - start_time / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, including zombies."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - half the time
            path = Path(f"/proc/{pid}/task/{thread}/children")
            children += map(int, path.read_bytes().split())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return children


def own_orphans() -> list[int]:
    """Return the orphans that the kernel gave to this process, and children from before an exec.

    The kernel gives orphans to the first living thread, the main one (`find_new_reaper` in its
    exit.c). Children of other threads are leaders, or spawns in progress, which only the spawning
    thread may reap.
    """
    return children_of_thread(os.getpid())


def children_of_thread(thread: int) -> list[int]:
    """Return the direct children of one thread of this process, including zombies."""
    path = Path(f"/proc/{os.getpid()}/task/{thread}/children")
    with _FAMILY:
        return [*map(int, path.read_bytes().split())]


def reap(kind: int, number: int) -> None:
    """Reap an ended child, given as for waitid(2). Any other process is ignored."""
    with _FAMILY, suppress(ChildProcessError):
        os.waitid(kind, number, os.WEXITED | os.WNOHANG)


def all_pids() -> list[int]:
    """Return the pids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - likewise


def read_owner(pid: int) -> str | None:
    """Return the owner of a process, `root` or a uid; None if it is gone.

    Other names are not resolved, because that may query a directory server.
    """
    try:
        uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - half the time
    except OSError:
        return None
    return "root" if uid == 0 else str(uid)


def read_name(pid: int) -> str:
    """Return the short name of a process with control characters escaped, or "?" if it is gone."""
    try:
        name = _read(f"/proc/{pid}/comm")
    except OSError:
        return "?"
    return printable_line(name.decode(errors="replace").removesuffix("\n"))


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open descriptor. `inode` is None if the kernel does not report it (before Linux 5.14)."""

    can_write: bool
    inode: int | None


def read_open_file(process: int | str, descriptor: str) -> OpenFile | None:
    """Return a descriptor as /proc reports it (proc(5), fdinfo), or None if it is gone or hidden.

    Unlike `stat`, this never reads the file's disk.
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
    """Return a path to the FIFO that is the stdout of a process, even if the FIFO was removed.

    `fifo` is its original path. Other files are not examined, because their disk may not answer.
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
