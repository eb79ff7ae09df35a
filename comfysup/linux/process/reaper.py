"""The parent that Linux makes of this daemon for the orphans of its instances."""

import asyncio
import ctypes
import os
import signal

from comfysup.linux.process.pidfd import LOOK_AGAIN_AFTER, is_exhaustion
from comfysup.linux.process.proc import own_orphans, reap

PR_SET_CHILD_SUBREAPER = 36

AFTER = 0.02
"""Seconds for which the dead wait: many may end at once, and the leaders among them go first."""


class Reaper:
    """Reaps every child but the leaders, whose exit status belongs to whoever started them."""

    def __init__(self) -> None:
        self._leaders: set[int] = set()
        self._due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Become the subreaper of all that descends from here, and reap from the next turn on.

        Children that are here already may be leaders that somebody is about to take over.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"cannot become a subreaper: {os.strerror(errno)}")
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap_soon)
        self._reap_soon()

    def close(self) -> None:
        """Reap no more; does nothing when it was not started.

        An event loop that is closed with a handler closes the pipe of its signals before it
        removes the handler, so that a child that ends then leaves a traceback on stderr.
        """
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def add_leader(self, pid: int) -> None:
        """Leave that child alone until `remove_leader`."""
        self._leaders.add(pid)

    def remove_leader(self, pid: int) -> None:
        """Treat that pid as any other again."""
        self._leaders.discard(pid)

    def is_leader(self, pid: int) -> bool:
        return pid in self._leaders

    def _reap_soon(self, after: float = AFTER) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(after, self.reap)

    def reap(self) -> None:
        """Reap whatever has ended, by pid: `waitpid(-1)` would take the leaders' status away."""
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
