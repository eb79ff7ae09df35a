"""Real processes for the tests of this directory."""

import itertools
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comfysup.linux.executor import Executor
from comfysup.linux.process.proc import read_stat

TERMINATING = sorted(
    set(signal.valid_signals())
    - {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    - {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)
"""The signals whose default is to end a process (signal(7)), the real-time ones too."""


MARKER = f"word-{os.getpid()}:0:1"
"""What a process bears that a test sweeps. A sweep ends whoever bears it on this machine, so that
tests which run at the same time in another process must not share it."""

SWEEPS: list[Executor] = []
"""What `sweeps` has made in this test."""


def sweeps() -> Executor:
    """Threads in which a process is swept, until the end of the test."""
    SWEEPS.append(Executor("sweeps", 4, reserve=1))
    return SWEEPS[-1]


def spawn(*argv: str, **variables: str) -> int:
    """Starts a program as a child that nobody waits for, with every signal at its default.

    It runs that program on return; spawning alone returns a little before /proc says so.
    """
    pid = os.posix_spawnp(argv[0], argv, {**os.environ, **variables}, setsigdef=TERMINATING)
    with suppress(ProcessLookupError):  # a zombie has none
        while not Path(f"/proc/{pid}/environ").read_bytes() and alive(pid):
            pass
    return pid


def shell(script: str, **variables: str) -> int:
    return spawn("sh", "-c", script, **variables)


@contextmanager
def child(*argv: str, **variables: str) -> Iterator[int]:
    """A child that is killed and reaped after the block, if it still exists."""
    pid = spawn(*argv, **variables)
    try:
        yield pid
    finally:
        end(pid)


def end(pid: int) -> None:
    """Kill and reap a child in any state."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def end_orphan(pid: int) -> None:
    """Kill a process, which may be no child, and wait until it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)


def wait_ended(pid: int) -> None:
    """Wait until a child has exited, and leave it as a zombie."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    stat = read_stat(pid)
    return stat is not None and not stat.ended


def open_descriptors() -> set[str]:
    """Return the open descriptors of this process, with their targets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - as names
        with suppress(OSError):
            found.add(f"{name} {Path('/proc/self/fd', name).readlink()}")
    return found


@contextmanager
def limited_descriptors(free: int) -> Iterator[None]:
    """Leave only that number of descriptors free for the block."""
    used = {int(each.split()[0]) for each in open_descriptors()}
    unused = (number for number in itertools.count() if number not in used)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = next(itertools.islice(unused, free, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
