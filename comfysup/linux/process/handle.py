"""Handles to processes: by pidfds, or by pid and start time where the kernel refuses pidfds.

Some sandboxes do not have pidfd_open(2) (gVisor), and older seccomp profiles of Docker refuse it.
There an end is noticed by looks at /proc, `PERIOD` apart.
"""

import asyncio
import errno
import os
from contextlib import suppress
from functools import cache
from signal import Signals
from typing import Final, TypeAlias

from comfysup.linux.process.pidfd import (
    ExitStatus,
    Pidfd,
    is_exhaustion,
    kill_group,
    may_signal,
)
from comfysup.linux.process.proc import Stat, read_stat, reap

PERIOD: Final = 0.05
"""Seconds between two looks at a process that is polled."""

REFUSALS: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})
"""How a kernel answers that has no pidfd_open, and a sandbox that forbids it."""


class PolledProcess:
    """One process, known by its pid and start time.

    A signal is sent right after a look at the start time: a process that ends in between could be
    mistaken only if its pid were given anew within these microseconds, and not while it is a child
    that this process has not reaped.
    """

    def __init__(self, pid: int) -> None:
        """Note its start time; raises ProcessLookupError when there is none."""
        stat = read_stat(pid)
        if stat is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self.pid = pid
        self._last = stat
        self._closed = False

    async def ended(self) -> None:
        """Wait until the process is a zombie or gone, or `close` is called; any number may wait."""
        while not self.is_gone():  # noqa: ASYNC110 - the kernel tells of no change
            await asyncio.sleep(PERIOD)

    def is_gone(self) -> bool:
        """Whether the process is a zombie or gone; True after `close`."""
        stat = self._stat()
        return stat is None or stat.ended or self._status().known

    def send(self, number: Signals) -> None:
        """Send a signal to the process alone; nothing happens when it is gone.

        Raises PermissionError where this process may not.
        """
        if self._is_seen() and not self._status().known:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def may_signal(self) -> bool:
        """Return whether this process may signal that one; True if it is gone."""
        return self.is_gone() or may_signal(self.pid)

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:  # noqa: ARG002 - as Pidfd's
        """Send a signal to the group that the process leads, also when only others are left of it.

        False, and nothing is sent, once the number can be a stranger's: the process is gone and
        was no child of this one, or has been reaped.
        """
        if self._closed:
            return True
        if not self._is_seen():
            return False
        kill_group(self.pid, number)
        return True

    def peek(self) -> ExitStatus:
        """Return how the ended process ended, and leave it unreaped; unknown for no child."""
        return ExitStatus() if self._stat() is None else self._status()

    def _status(self) -> ExitStatus:
        try:
            info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return ExitStatus()
        return ExitStatus.of_waitid(info)

    def wait(self) -> None:
        """Block until the process has ended, and let it go, where it is a child of this one."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.reap()

    def reap(self) -> None:
        """Let the ended process go, where it is a child of this one."""
        if self._stat() is not None:
            reap(os.P_PID, self.pid)

    def close(self) -> None:
        """Look no more. May be called again."""
        self._closed = True

    def _is_seen(self) -> bool:
        """Return whether a look just now finds that very process, a zombie included.

        False also if no descriptor is left to look with: a signal could reach a stranger.
        """
        if self._closed:
            return False
        try:
            stat = read_stat(self.pid)
        except OSError as error:
            if not is_exhaustion(error):
                raise
            return False
        return stat is not None and stat.start_time == self._last.start_time

    def _stat(self) -> Stat | None:
        """Return the stat of that very process; None when it is reaped, and after `close`.

        Where no descriptor is left to look with, it is as it was seen last.
        """
        if self._closed:
            return None
        try:
            stat = read_stat(self.pid)
        except OSError as error:
            if not is_exhaustion(error):
                raise
            return self._last
        if stat is None or stat.start_time != self._last.start_time:
            return None
        self._last = stat
        return stat


class GoneProcess:
    """Stands for a process that is gone: its pid may be somebody else's by now."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def ended(self) -> None:
        """Return at once."""

    def send(self, number: Signals) -> None:
        """Do nothing."""

    def may_signal(self) -> bool:
        """Nobody refuses."""
        return True

    def is_gone(self) -> bool:
        """Yes."""
        return True

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:  # noqa: ARG002 - as Pidfd's
        """Do nothing: what is left of its group is the sweep's."""
        return True

    def peek(self) -> ExitStatus:
        """Nobody knows."""
        return ExitStatus()

    def wait(self) -> None:
        """Return at once."""

    def reap(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


ProcessHandle: TypeAlias = Pidfd | PolledProcess


@cache
def refusal_of_pidfds() -> str | None:
    """Return why processes are polled, in the kernel's words; None where pidfds can be had."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return error.strerror if error.errno in REFUSALS else None
    return None


def open_process(pid: int) -> ProcessHandle:
    """Return a handle to a process; raises ProcessLookupError when there is none."""
    return Pidfd(pid) if refusal_of_pidfds() is None else PolledProcess(pid)
