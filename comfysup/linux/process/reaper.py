"""Reaps orphans: the daemon is the subreaper of its instances' descendants."""

import asyncio
import ctypes
import os
import signal

from comfysup.linux.process.pidfd import LOOK_AGAIN_AFTER, is_exhaustion
from comfysup.linux.process.proc import own_orphans, reap

PR_SET_CHILD_SUBREAPER = 36

AFTER = 0.02
"""Seconds between SIGCHLD and reaping. Many processes may end at once, leaders first."""


class Reaper:
    """Reaps every child except leaders, whose exit status belongs to the code that started them."""

    def __init__(self) -> None:
        self._leaders: set[int] = set()
        self._due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Make this process a subreaper and schedule the first reaping. Raises OSError.

        Existing children may be leaders that are about to be adopted, so none is reaped at once.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"cannot become a subreaper: {os.strerror(errno)}")
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap_soon)
        self._reap_soon()

    def close(self) -> None:
        """Stop reaping. Does nothing if `start` was not called.

        An event loop that is closed with this handler closes its signal pipe first. A child that
        ends in between then leaves a traceback on stderr.
        """
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def add_leader(self, pid: int) -> None:
        """Do not reap that child until `remove_leader`."""
        self._leaders.add(pid)

    def remove_leader(self, pid: int) -> None:
        """Allow that child to be reaped again."""
        self._leaders.discard(pid)

    def is_leader(self, pid: int) -> bool:
        return pid in self._leaders

    def _reap_soon(self, after: float = AFTER) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(after, self.reap)

    def reap(self) -> None:
        """Reap ended children by pid. `waitpid(-1)` would discard the status of leaders."""
        self._due = None
        try:
            children = own_orphans()
        except OSError as error:
            if not is_exhaustion(error):
                raise
            self._reap_soon(LOOK_AGAIN_AFTER)
            return
        for pid in children:
            if pid not in self._leaders:
                reap(os.P_PID, pid)
