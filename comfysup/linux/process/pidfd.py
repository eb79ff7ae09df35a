"""Handles to processes that stay valid when the kernel reuses a pid.

References: pidfd_open(2), pidfd_send_signal(2), waitid(2) and linux/pidfd.h. Tested on Linux 6.18.
Comments below name what older kernels lack.
"""

import asyncio
import errno
import fcntl
import os
import select
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from signal import Signals
from typing import Self

from comfysup.linux.process.proc import reap

LOOK_AGAIN_AFTER = 0.2
"""Seconds before a retry when descriptors or memory are exhausted."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def is_exhaustion(error: OSError) -> bool:
    """Return whether this process or the machine has temporarily run out of descriptors or memory.

    Such an error says nothing about the process that was examined. Retry later.
    """
    return error.errno in _EXHAUSTED


SIGNAL_PROCESS_GROUP = 1 << 2
"""Flag of pidfd_send_signal since Linux 6.9: signal the group that the process leads."""

NO_PIDFD_SIGNALS = {errno.ENOSYS, errno.EPERM}
"""Errors of a kernel or sandbox without pidfd_send_signal.

EPERM can also mean that the process may not be signalled; kill(2) then fails too.
"""

NO_GROUPS = {errno.EINVAL, *NO_PIDFD_SIGNALS}
"""Errors of those and of kernels before 6.9 for that flag."""

CLOSED = -1
"""Marks a closed descriptor, whose number another file may have by now."""

GET_INFO = 0xC048FF0B
"""ioctl PIDFD_GET_INFO with the 72 bytes of `struct pidfd_info`. Reports exits since Linux 6.15."""

INFO_EXIT = 1 << 3
INFO = struct.Struct("=QQ11Ii8x")


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended. Both are None if the kernel no longer reports it."""

    code: int | None = None
    signal: Signals | int | None = None

    @property
    def known(self) -> bool:
        return self.code is not None or self.signal is not None

    @classmethod
    def of_wait_status(cls, status: int) -> Self:
        """Decode a status word of wait(2)."""
        if os.WIFSIGNALED(status):
            return cls(signal=_signal(os.WTERMSIG(status)))
        return cls(code=os.WEXITSTATUS(status))

    @classmethod
    def of_waitid(cls, info: os.waitid_result | None) -> Self:
        """Read what waitid(2) gives, None where the process has not ended."""
        if info is None:
            return cls()
        if info.si_code == os.CLD_EXITED:
            return cls(code=info.si_status)
        return cls(signal=_signal(info.si_status))


def kill_group(group: int, number: Signals) -> None:
    """Send a signal to a group by its number; members that this process may not signal get none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def may_signal(pid: int) -> bool:
    """Return whether this process may signal that one (kill(2), signal 0); True if it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


class Pidfd:
    """A process, held by a descriptor until `close`."""

    def __init__(self, pid: int) -> None:
        """Open the process. Raises ProcessLookupError if it does not exist."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._end: asyncio.Event | None = None  # set while a task waits
        self._stop_watching: Callable[[], object] | None = None

    async def ended(self) -> None:
        """Wait until the process is a zombie or gone, or `close` is called.

        Any number of tasks may wait.
        """
        if self.is_gone():
            return
        if self._end is None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._fd, self._let_know)
            self._stop_watching = partial(loop.remove_reader, self._fd)
            self._end = asyncio.Event()
        await self._end.wait()

    def _let_know(self) -> None:
        """Wake all tasks that wait for the end."""
        end, self._end = self._end, None
        if end is not None and self._stop_watching is not None:
            self._stop_watching()
            end.set()

    def is_gone(self) -> bool:
        """Return whether the process is a zombie or gone; True after `close`."""
        if self._fd == CLOSED:
            return True
        look = select.poll()
        look.register(self._fd, select.POLLIN)
        return bool(look.poll(0))

    def send(self, number: Signals) -> None:
        """Signal the process alone. Does nothing if it is gone.

        Raises PermissionError if this process may not signal it.
        """
        if self._fd == CLOSED:
            return
        with suppress(ProcessLookupError):
            try:
                signal.pidfd_send_signal(self._fd, number)
            except OSError as error:
                if error.errno not in NO_PIDFD_SIGNALS or self.is_gone():
                    raise
                os.kill(self.pid, number)

    def may_signal(self) -> bool:
        """Return whether this process may signal that one; True if it is gone."""
        return self.is_gone() or may_signal(self.pid)

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:
        """Signal the group that the process leads, even if only other members are left.

        Kernels before 6.9 address the group by number, which is safe only for an unreaped child
        (`is_ours`). For any other process they send nothing and the method returns False, because
        the number may have been reused. Members that this process may not signal are skipped.
        """
        if self._fd == CLOSED:
            return True
        try:
            signal.pidfd_send_signal(self._fd, number, None, SIGNAL_PROCESS_GROUP)
        except ProcessLookupError:
            return True
        except OSError as error:
            if error.errno not in NO_GROUPS:
                raise
            if not is_ours:
                return False
            kill_group(self.pid, number)
        return True

    def peek(self) -> ExitStatus:
        """Return the exit status without reaping the process; unknown after `close`."""
        if self._fd == CLOSED:
            return ExitStatus()
        try:
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._status_of_stranger()
        return ExitStatus.of_waitid(info)

    def wait(self) -> None:
        """Block until the process has ended, then reap it. Returns at once if it is not a child."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOWAIT)
            reap(os.P_PIDFD, self._fd)

    def reap(self) -> None:
        """Reap the ended process if it is a child of this one."""
        if self._fd == CLOSED:
            return
        reap(os.P_PIDFD, self._fd)

    def close(self) -> None:
        """Close the descriptor. Does not affect the process. Idempotent."""
        self._let_know()
        descriptor, self._fd = self._fd, CLOSED
        if descriptor != CLOSED:
            os.close(descriptor)

    def _status_of_stranger(self) -> ExitStatus:
        """Ask the kernel for the status of a process that its own parent has reaped."""
        info = bytearray(INFO.pack(INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._fd, GET_INFO, info)
        except OSError:
            return ExitStatus()
        mask, *_, status = INFO.unpack(info)
        return ExitStatus.of_wait_status(status) if mask & INFO_EXIT else ExitStatus()


def _signal(number: int) -> Signals | int:
    """Return the signal by name, or its number if it has none (real-time signals)."""
    try:
        return Signals(number)
    except ValueError:
        return number
