"""Handles to processes that no other process can ever take over.

Facts: pidfd_open(2), pidfd_send_signal(2), waitid(2) and linux/pidfd.h. Seen on Linux 6.18; each
part that an older kernel lacks is said below.
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
"""Seconds."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def is_exhaustion(error: OSError) -> bool:
    """Whether this process or the machine has no descriptor or memory left, which passes.

    Such an error says nothing of the process that was looked at: look again later.
    """
    return error.errno in _EXHAUSTED


SIGNAL_PROCESS_GROUP = 1 << 2
"""Flag of pidfd_send_signal, Linux 6.9: the signal goes to the group that the process leads."""

NO_PIDFD_SIGNALS = {errno.ENOSYS, errno.EPERM}
"""How a kernel or a sandbox answers that does not know pidfd_send_signal. The latter also means
that the process may not be signalled, as kill(2) will then say too."""

NO_GROUPS = {errno.EINVAL, *NO_PIDFD_SIGNALS}
"""How those and a kernel before 6.9 answer that flag."""

CLOSED = -1
"""Stands for a descriptor that is closed: another file may have its number by now."""

GET_INFO = 0xC048FF0B
"""ioctl PIDFD_GET_INFO with the 72 bytes of `struct pidfd_info`; tells of exits since 6.15."""

INFO_EXIT = 1 << 3
INFO = struct.Struct("=QQ11Ii8x")


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended; both are None where the kernel does not tell any more."""

    code: int | None = None
    signal: Signals | int | None = None

    @property
    def known(self) -> bool:
        return self.code is not None or self.signal is not None

    @classmethod
    def of_wait_status(cls, status: int) -> Self:
        """Read the status word that wait(2) gives."""
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


class Pidfd:
    """One process, by a descriptor that is closed by `close`."""

    def __init__(self, pid: int) -> None:
        """Open it; raises ProcessLookupError when there is none."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._end: asyncio.Event | None = None  # while it is waited for
        self._stop_watching: Callable[[], object] | None = None

    async def ended(self) -> None:
        """Wait until the process is a zombie or gone, or `close` is called; any number may wait."""
        if self.is_gone():
            return
        if self._end is None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._fd, self._let_know)
            self._stop_watching = partial(loop.remove_reader, self._fd)
            self._end = asyncio.Event()
        await self._end.wait()

    def _let_know(self) -> None:
        """Wake all who wait for the end."""
        end, self._end = self._end, None
        if end is not None and self._stop_watching is not None:
            self._stop_watching()
            end.set()

    def is_gone(self) -> bool:
        """Whether the process is a zombie or gone; True after `close`."""
        if self._fd == CLOSED:
            return True
        look = select.poll()
        look.register(self._fd, select.POLLIN)
        return bool(look.poll(0))

    def send(self, number: Signals) -> None:
        """Send a signal to the process alone; nothing happens when it is gone.

        Raises PermissionError where this process may not.
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
        """Whether this process may send signals to that one, or it is gone (kill(2), signal 0)."""
        if self.is_gone():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def signal_group(self, number: Signals, *, is_ours: bool) -> bool:
        """Send a signal to the group that the process leads, also when only others are left of it.

        Before Linux 6.9 the kernel knows the group by its number alone, which is safe for a child
        that is not reaped (`is_ours`). For another process nothing is sent then, and False
        returned: the number may be a stranger's. Members that this process may not signal get none.
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
        """Return how the ended process ended, and leave it unreaped; unknown after `close`."""
        if self._fd == CLOSED:
            return ExitStatus()
        try:
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._status_of_stranger()
        return ExitStatus.of_waitid(info)

    def wait(self) -> None:
        """Block until the process has ended, and let it go, where it is a child of this one."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOWAIT)
            reap(os.P_PIDFD, self._fd)

    def reap(self) -> None:
        """Let the ended process go, where it is a child of this one."""
        if self._fd == CLOSED:
            return
        reap(os.P_PIDFD, self._fd)

    def close(self) -> None:
        """Close the descriptor; the process is not touched. May be called again."""
        self._let_know()
        descriptor, self._fd = self._fd, CLOSED
        if descriptor != CLOSED:
            os.close(descriptor)

    def _status_of_stranger(self) -> ExitStatus:
        """Ask the kernel how a process ended that its own parent has reaped."""
        info = bytearray(INFO.pack(INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._fd, GET_INFO, info)
        except OSError:
            return ExitStatus()
        mask, *_, status = INFO.unpack(info)
        return ExitStatus.of_wait_status(status) if mask & INFO_EXIT else ExitStatus()


def _signal(number: int) -> Signals | int:
    """Give the signal its name where it has one: real-time signals have none."""
    try:
        return Signals(number)
    except ValueError:
        return number
