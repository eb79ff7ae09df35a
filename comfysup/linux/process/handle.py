"""Handles to processes: by pidfds, or by pid and start time where the kernel refuses pidfds.

Some sandboxes do not have pidfd_open(2) (gVisor), and older seccomp profiles of Docker refuse it.
There /proc is polled every `PERIOD` seconds.
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
"""Seconds between two polls of a process."""

REFUSALS: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})
"""Errors of kernels without pidfd_open, and of sandboxes that refuse it."""


class PolledProcess:
    """A process identified by its pid and start time.

    The start time is checked right before each signal. A signal could reach another process only
    if the kernel reused the pid within these microseconds, which is impossible for an unreaped
    child of this process.
    """

    def __init__(self, pid: int) -> None:
        """Read the start time. Raises ProcessLookupError if the process does not exist."""
        stat = read_stat(pid)
        if stat is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self.pid = pid
        self._last = stat
        self._closed = False

    async def ended(self) -> None:
        """Wait until the process is a zombie or gone, or `close` is called.

        Any number of tasks may wait.
        """
        while not self.is_gone():  # noqa: ASYNC110 - the kernel reports no change
            await asyncio.sleep(PERIOD)

    def is_gone(self) -> bool:
        """Return whether the process is a zombie or gone; True after `close`."""
        stat = self._stat()
        return stat is None or stat.ended or self._status().known

    def send(self, number: Signals) -> None:
        """Signal the process alone. Does nothing if it is gone.

        Raises PermissionError if this process may not signal it, and another OSError if no
        descriptor is available to identify it.
        """
        if self._exists() and not self._status().known:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def may_signal(self) -> bool:
        """Return whether this process may signal that one; True if it is gone."""
        return self.is_gone() or may_signal(self.pid)

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:  # noqa: ARG002 - as Pidfd's
        """Signal the group that the process leads, even if only other members are left.

        Sends nothing and returns False if the number may have been reused: the process is gone and
        was not a child of this one, or has been reaped. Raises OSError if no descriptor is
        available to identify it.
        """
        if self._closed:
            return True
        if not self._exists():
            return False
        kill_group(self.pid, number)
        return True

    def peek(self) -> ExitStatus:
        """Return the exit status without reaping the process; unknown if it is not a child."""
        return ExitStatus() if self._stat() is None else self._status()

    def _status(self) -> ExitStatus:
        try:
            info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return ExitStatus()
        return ExitStatus.of_waitid(info)

    def wait(self) -> None:
        """Block until the process has ended, then reap it. Returns at once if it is not a child."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.reap()

    def reap(self) -> None:
        """Reap the ended process if it is a child of this one."""
        if self._stat() is not None:
            reap(os.P_PID, self.pid)

    def close(self) -> None:
        """Treat the process as gone from now on. Idempotent."""
        self._closed = True

    def _exists(self) -> bool:
        """Return whether the process exists right now, zombies included.

        Raises OSError if no descriptor is available to check: the pid may have been reused, except
        that of an unreaped child.
        """
        try:
            return self._stat_now() is not None
        except OSError as error:
            if is_exhaustion(error) and self._is_unreaped_child():
                return True
            raise

    def _is_unreaped_child(self) -> bool:
        try:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _stat(self) -> Stat | None:
        """Return the stat of the process; None if it was reaped, and after `close`.

        Returns the last one read if no descriptor is available.
        """
        try:
            return self._stat_now()
        except OSError as error:
            if not is_exhaustion(error):
                raise
            return self._last

    def _stat_now(self) -> Stat | None:
        """Return the same. Raises OSError if no descriptor is available."""
        stat = None if self._closed else read_stat(self.pid)
        if stat is None or stat.start_time != self._last.start_time:
            return None
        self._last = stat
        return stat


class GoneProcess:
    """A process that is gone, and whose pid may have been reused."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def ended(self) -> None:
        """Return at once."""

    def send(self, number: Signals) -> None:
        """Do nothing."""

    def may_signal(self) -> bool:
        """Return True."""
        return True

    def is_gone(self) -> bool:
        """Return True."""
        return True

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:  # noqa: ARG002 - as Pidfd's
        """Do nothing and return True: the sweep handles what is left of its group."""
        return True

    def peek(self) -> ExitStatus:
        """Return an unknown status."""
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
    """Return the kernel's error if pidfds are refused, so that processes are polled, else None."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return error.strerror if error.errno in REFUSALS else None
    return None


def open_process(pid: int) -> ProcessHandle:
    """Return a handle to a process. Raises ProcessLookupError if it does not exist."""
    return Pidfd(pid) if refusal_of_pidfds() is None else PolledProcess(pid)
