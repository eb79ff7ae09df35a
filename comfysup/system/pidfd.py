"""Handles to processes that no other process can ever take over.

Facts: pidfd_open(2), pidfd_send_signal(2), waitid(2) and linux/pidfd.h. Seen on Linux 6.18; each
part that an older kernel lacks is said below.
"""

import asyncio
import fcntl
import os
import select
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from signal import Signals
from typing import Self

SIGNAL_PROCESS_GROUP = 1 << 2
"""Flag of pidfd_send_signal, Linux 6.9: the signal goes to the group that the process leads."""

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


class Pidfd:
    """One process, by a descriptor that is closed by `close`."""

    def __init__(self, pid: int) -> None:
        """Open it; raises ProcessLookupError when there is none."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    async def ended(self) -> None:
        """Wait until the process is a zombie or gone."""
        if self._is_readable():
            return
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._fd, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._fd)

    def send(self, number: Signals) -> None:
        """Send a signal to the process alone; nothing happens when it is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def signal_group(self, number: Signals) -> None:
        """Send a signal to the group that the process leads, also when only others are left of it.

        Before Linux 6.9 the group is named by its number, which is safe as long as the leader is
        not reaped: that is the caller's to know.
        """
        try:
            signal.pidfd_send_signal(self._fd, number, None, SIGNAL_PROCESS_GROUP)
        except OSError as error:
            if isinstance(error, ProcessLookupError):
                return
            _kill_group(self.pid, number)

    def peek(self) -> ExitStatus:
        """Return how the ended process ended, and leave it unreaped."""
        try:
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._status_of_stranger()
        if info is None:
            return ExitStatus()
        if info.si_code == os.CLD_EXITED:
            return ExitStatus(code=info.si_status)
        return ExitStatus(signal=_signal(info.si_status))

    def reap(self) -> None:
        """Let the ended process go, where it is a child of this one."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        """Close the descriptor; the process is not touched."""
        os.close(self._fd)

    def _is_readable(self) -> bool:
        look = select.poll()
        look.register(self._fd, select.POLLIN)
        return bool(look.poll(0))

    def _status_of_stranger(self) -> ExitStatus:
        """Ask the kernel how a process ended that its own parent has reaped."""
        info = bytearray(INFO.pack(INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._fd, GET_INFO, info)
        except OSError:
            return ExitStatus()
        mask, *_, status = INFO.unpack(info)
        return ExitStatus.of_wait_status(status) if mask & INFO_EXIT else ExitStatus()


class Nobody:
    """Stands for a process that is gone: its pid may be somebody else's by now."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def ended(self) -> None:
        """Return at once."""

    def send(self, number: Signals) -> None:
        """Do nothing."""

    def signal_group(self, number: Signals) -> None:
        """Do nothing."""

    def peek(self) -> ExitStatus:
        """Nobody knows."""
        return ExitStatus()

    def reap(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _signal(number: int) -> Signals | int:
    """Give the signal its name where it has one: real-time signals have none."""
    try:
        return Signals(number)
    except ValueError:
        return number


def _kill_group(group: int, number: Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
