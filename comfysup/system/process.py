"""A process that comfysup started, from its spawn to the end of all that descends from it."""

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from comfysup.system.exhaustion import LOOK_AGAIN_AFTER, is_exhaustion
from comfysup.system.lineage import NOBODY, Found, Lineage, descendants_of, identity_of
from comfysup.system.pidfd import ExitStatus, Nobody, Pidfd
from comfysup.system.proc import MARKER, read_stat
from comfysup.system.reaper import Reaper

REAPER_LOOKS = 10
REAPER_PERIOD = 0.005
"""How often, and seconds between, the kernel is asked for the status of an adopted process.

It tells once that one's own parent has reaped it, a moment after its end; and nothing wakes us.
"""


class Process:
    """One process with a session, a group and a marker of its own.

    The dead leader stays a zombie until `sweep` is done, so that neither its pid nor its group can
    become a stranger's while signals may still be sent to them.
    """

    def __init__(
        self, pidfd: Pidfd | Nobody, start_time: int, lineage: Lineage, reaper: Reaper | None
    ) -> None:
        """`reaper` is the one that leaves it alone; None for what is no child of this process."""
        self.pid = pidfd.pid
        self.start_time = start_time
        self._pidfd = pidfd
        self._lineage = lineage
        self._reaper = reaper
        self._tree: set[Found] = set()

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        output: int,
        marker: str,
        reaper: Reaper,
    ) -> Self:
        """Start a program with `output`, a descriptor, as its stdout and stderr.

        It gets no stdin, no other descriptor, no blocked signal, and none ignored that this
        process does not ignore. Raises OSError as fork and exec do.
        """
        child = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            argv,
            cwd=cwd,
            env={**env, MARKER: marker},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        # Popen must never wait for it (it would when it is forgotten): the pidfd does.
        child.returncode = 0
        try:
            stat = read_stat(child.pid)
            pidfd = Pidfd(child.pid)
        except OSError:
            _undo(child.pid)
            raise
        reaper.add_leader(child.pid)
        lineage = Lineage(child.pid, marker, identity_of(output))
        return cls(pidfd, stat.start_time if stat else 0, lineage, reaper)

    @classmethod
    def adopt(
        cls,
        pid: int,
        start_time: int,
        marker: str,
        reaper: Reaper,
        output: tuple[int, int] | None = None,
    ) -> Self:
        """Take over a process that an earlier daemon started, or what that left behind.

        `output` is the device and inode of what it writes to, where that is still there.
        A pid that names another process now, or none, is an ended process: nobody is signalled.
        """
        lineage = Lineage(pid, marker, output)
        try:
            pidfd = Pidfd(pid)
        except ProcessLookupError:
            return cls(Nobody(pid), start_time, lineage, None)
        # Looked at after the pidfd is open: what it names cannot change any more.
        stat = read_stat(pid)
        if stat is None or stat.start_time != start_time:
            pidfd.close()
            # A number is given anew once nobody is left in the group and session it named.
            lineage = lineage if stat is None else Lineage(NOBODY, marker)
            return cls(Nobody(pid), start_time, lineage, None)
        if stat.parent != os.getpid():
            return cls(pidfd, start_time, lineage, None)
        reaper.add_leader(pid)
        return cls(pidfd, start_time, lineage, reaper)

    async def ended(self) -> ExitStatus:
        """Wait until the process itself has ended, and say how."""
        await self._pidfd.ended()
        status = self._pidfd.peek()
        for _ in range(REAPER_LOOKS if self._reaper is None else 0):
            if status.known:
                break
            await asyncio.sleep(REAPER_PERIOD)
            status = self._pidfd.peek()
        return status

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that is still in its group.

        What it ends may leave others behind that nothing but their place in the tree tells.
        """
        try:
            if Found(self.pid, self.start_time).still_there():
                self._tree.update(descendants_of(self.pid))
        except OSError as error:
            if not is_exhaustion(error):
                raise
        self._pidfd.signal_group(number)

    async def sweep(self) -> None:
        """Kill the process and all that descends from it until a look finds nothing; then let go.

        Waits for as long as the kernel takes.
        """
        self.signal_group(signal.SIGKILL)
        await self._pidfd.ended()
        while not await self._kill_survivors():
            pass
        if self._reaper:
            self._reaper.remove_leader(self.pid)
        self._pidfd.reap()
        self._pidfd.close()

    async def _kill_survivors(self) -> bool:
        """Kill all that a look finds; whether the look was a good one and found nothing."""
        try:
            alive = self._survivors()
            await asyncio.gather(*map(kill_found, alive))
        except OSError as error:
            if not is_exhaustion(error):
                raise
            await asyncio.sleep(LOOK_AGAIN_AFTER)
            return False
        return not alive

    def _survivors(self) -> list[Found]:
        """Look for what it left: among this process' own children, or else everywhere."""
        if self._reaper:
            return self._lineage.orphans(self._reaper.is_leader, self._tree)
        return self._lineage.survivors(self._tree)


def _undo(pid: int) -> None:
    """End a child that nobody can keep; it is not reaped yet, so the pid is still its own."""
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def kill_found(found: Found) -> None:
    """Kill one descendant and wait until it has ended."""
    try:
        pidfd = Pidfd(found.pid)
    except ProcessLookupError:
        return
    try:
        if found.still_there():
            pidfd.send(signal.SIGKILL)
            await pidfd.ended()
    finally:
        pidfd.close()


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as it may have: connections must not cost a spawn."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
