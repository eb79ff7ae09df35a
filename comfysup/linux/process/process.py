"""A process that comfysup started, from its spawn to the end of its last descendant."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Self

import structlog

from comfysup.linux.executor import Executor, UnresponsiveError
from comfysup.linux.process.handle import GoneProcess, ProcessHandle, open_process
from comfysup.linux.process.pidfd import LOOK_AGAIN_AFTER, ExitStatus, is_exhaustion
from comfysup.linux.process.proc import MARKER, all_pids, own_orphans, read_name, read_stat
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.process.signals import NoThreadError, unblocked_signals
from comfysup.linux.process.sweep import Remnant, Sweep, describe
from comfysup.linux.process.tree import NOBODY, Found, ProcessTree, descendants_of, identity_of

log = structlog.get_logger()

if sys.version_info < (3, 11, 4):
    # These hold the GIL until the child has executed its program, so a hung disk would stop every
    # thread (gh-104372). fork(2) takes milliseconds longer but releases the GIL.
    subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001 - its documented switch

REAPER_LOOKS = 10
REAPER_PERIOD = 0.005
"""Number and interval (seconds) of the reads of an adopted process' exit status.

The kernel reports it only after the process' parent has reaped it, and sends no event.
"""

SHORT_PAUSE = 0.02
LONG_PAUSE = 1.0
"""Seconds that a sweep waits for descendants to end before its next look: the shorter one after a
descendant has ended, then doubling up to the longer one."""

TURN_PATIENCE = 2.0
"""Seconds that a sweep may spend on one process. After that its memory counts as locked."""

HURRIED = 10.0
"""Seconds during which a sweep repeats without delay.

After that it also waits `LONG_PAUSE` each time.
"""


class Process:
    """A process with its own session, group and marker.

    The dead leader stays a zombie until `sweep` is done. Its pid and its group can therefore not be
    reused while signals may still be sent to them.
    """

    def __init__(
        self,
        handle: ProcessHandle | GoneProcess,
        start_time: int,
        process_tree: ProcessTree,
        reaper: Reaper | None,
        sweeps: Executor,
    ) -> None:
        """`reaper` is the one that skips this process, or None if it is not a child of this one.

        `sweeps` provides the threads for the sweep.
        """
        self.pid = handle.pid
        self.start_time = start_time
        self._handle = handle
        self._process_tree = process_tree
        self._reaper = reaper
        self._sweeps = sweeps
        self._tree: set[Found] = set()
        self._sweep: Sweep | None = None
        self._leader_ended = False
        self._swept = False

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
        sweeps: Executor,
    ) -> Self:
        """Start a program whose stdout and stderr are the descriptor `output`.

        The program gets no stdin, no other descriptor, no blocked signal, and no ignored signal
        that this process does not ignore. Returns when the program has started. Raises OSError as
        fork and exec do. Call this in a thread if the program or `cwd` may be on a hung disk.
        """
        with unblocked_signals():
            child = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                argv,
                cwd=cwd,
                env={**env, MARKER: marker},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Popen must never wait for it (it would when it is forgotten): the handle does.
        child.returncode = 0
        try:
            stat = read_stat(child.pid)
            process_tree = ProcessTree(child.pid, marker, identity_of(output))
            handle = open_process(child.pid)
        except OSError:
            _undo(child.pid)
            raise
        reaper.add_leader(child.pid)
        return cls(handle, stat.start_time if stat else 0, process_tree, reaper, sweeps)

    @classmethod
    def adopt(
        cls,
        pid: int,
        start_time: int,
        marker: str,
        reaper: Reaper,
        sweeps: Executor,
        output: tuple[int, int] | None = None,
    ) -> Self:
        """Adopt a process that an earlier daemon started, or the descendants that it left.

        `output` is the device and inode of its output, if that still exists. A pid that is gone or
        was reused counts as an ended process and is never signalled.
        """
        process_tree = ProcessTree(pid, marker, output, start_time)
        try:
            handle = open_process(pid)
        except ProcessLookupError:
            return cls(GoneProcess(pid), start_time, process_tree, None, sweeps)
        # Looked at after the handle is open: what it names cannot change any more.
        stat = read_stat(pid)
        if stat is None or stat.start_time != start_time:
            handle.close()
            # The kernel reuses a number when its group and session have no members left.
            process_tree = process_tree if stat is None else ProcessTree(NOBODY, marker, output)
            return cls(GoneProcess(pid), start_time, process_tree, None, sweeps)
        if stat.parent != os.getpid():
            return cls(handle, start_time, process_tree, None, sweeps)
        reaper.add_leader(pid)
        return cls(handle, start_time, process_tree, reaper, sweeps)

    def undo(self) -> None:
        """Kill a process that was just spawned and cannot be kept. Waits for its end."""
        self._handle.signal_group(signal.SIGKILL, is_ours=True)
        self._handle.wait()
        self._handle.close()
        if self._reaper:
            self._reaper.remove_leader(self.pid)

    async def ended(self) -> ExitStatus:
        """Wait until the process itself has ended, and say how."""
        await self._handle.ended()
        status = self._handle.peek()
        for _ in range(REAPER_LOOKS if self._reaper is None else 0):
            if status.known:
                break
            await asyncio.sleep(REAPER_PERIOD)
            status = self._handle.peek()
        return status

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and every member of its group.

        First records the descendants, which may lose their place in the tree when their parent
        ends. Does nothing after `sweep`, or if this process may not signal any of them. If no
        descriptor is available to identify them, retries every `LOOK_AGAIN_AFTER` seconds.
        """
        if self._swept:
            return
        try:
            if Found(self.pid, self.start_time).still_there():
                self._tree.update(descendants_of(self.pid))
        except OSError as error:
            if not is_exhaustion(error):
                raise
        try:
            if not self._handle.signal_group(number, is_ours=self._reaper is not None):
                _signal_each(_members_of(self.pid, self.start_time), number)
        except OSError as error:
            if not is_exhaustion(error):
                raise
            loop = asyncio.get_running_loop()
            loop.call_later(LOOK_AGAIN_AFTER, self.signal_group, number)

    async def sweep(self) -> None:
        """Kill the process and all descendants until none is left, then reap and release it.

        Waits for as long as the kernel takes, and for processes that this one may not kill.
        Idempotent.
        """
        if self._swept:
            return
        self.signal_group(signal.SIGKILL)
        await self._handle.ended()
        self._leader_ended = True
        self._sweep = Sweep(self._process_tree, self._candidates, self._tree)
        await carry_out(self._sweep, self._sweeps)
        self._swept = True
        with ExitStack() as steps:
            steps.callback(self._handle.close)
            steps.callback(self._handle.reap)
            if self._reaper:
                steps.callback(self._reaper.remove_leader, self.pid)

    def remnants(self) -> list[str]:
        """Return descriptions of the processes seen alive at the last look; empty after `sweep`."""
        if self._swept:
            return []
        found = [each.describe() for each in self._sweep.remnants.values()] if self._sweep else []
        if self._leader_ended or self._handle.is_gone():
            return found
        return [describe(self.pid, refused=not self._handle.may_signal()), *found]

    def _candidates(self) -> list[int]:
        """Return possible descendants: orphans of this process, or all pids if it is no child."""
        if self._reaper is None:
            return all_pids()
        return [pid for pid in own_orphans() if not self._reaper.is_leader(pid)]


async def carry_out(sweep: Sweep, threads: Executor) -> None:
    """Repeat turns of a sweep in `threads` until no process is left."""
    unhurried_from = time.monotonic() + HURRIED
    pause = SHORT_PAUSE
    while not await _turn(sweep, threads):
        progress = await _any_ended(sweep.remnants.values(), pause)
        if time.monotonic() > unhurried_from:
            await asyncio.sleep(LONG_PAUSE)
        pause = SHORT_PAUSE if progress else min(2 * pause, LONG_PAUSE)


async def _turn(sweep: Sweep, threads: Executor) -> bool:
    """Run one turn of a sweep in a thread, so that a blocked /proc file delays nothing else.

    A turn that hangs at a process is abandoned with its thread. If descriptors, memory or threads
    are short, the turn is retried after a pause. Return whether the sweep is done.
    """
    turn = threads.submit(sweep.turn, f"/proc of what {sweep.name} left")
    try:
        if await _goes_on(sweep, turn):
            return turn.result()
    except (NoThreadError, UnresponsiveError):
        await asyncio.sleep(LOOK_AGAIN_AFTER)
    except OSError as error:
        if not is_exhaustion(error):
            raise
        await asyncio.sleep(LOOK_AGAIN_AFTER)
    return False


async def _goes_on(sweep: Sweep, turn: asyncio.Future[bool]) -> bool:
    """Wait for the end of a turn. Return False if it hangs and was abandoned."""
    before: tuple[int, int] | None = None
    while not turn.done():
        reading = sweep.reading
        if reading and reading == before:
            _, pid = reading
            turn.cancel()
            sweep.give_turn_up(pid)
            log.error("process.passed_over", pid=pid, name=read_name(pid), by="a sweep")
            return False
        before = reading
        await asyncio.wait([turn], timeout=TURN_PATIENCE)
    return True


async def _any_ended(remnants: Iterable[Remnant], patience: float) -> bool:
    """Wait up to `patience` seconds for all remnants to end. Return whether any has ended."""
    ends: list[Found] = []

    async def wait_for(found: Found) -> None:
        if await _ended(found):
            ends.append(found)

    try:
        async with asyncio.timeout(patience), asyncio.TaskGroup() as tasks:
            for each in remnants:
                tasks.create_task(wait_for(each.found))
    except TimeoutError:
        pass
    return bool(ends)


async def _ended(found: Found) -> bool:
    """Wait until a descendant has ended. Return False if that cannot be observed now."""
    try:
        handle = open_process(found.pid)
    except ProcessLookupError:
        return True
    except OSError as error:
        if not is_exhaustion(error):
            raise
        await asyncio.sleep(LOOK_AGAIN_AFTER)
        return False
    try:
        if found.still_there():
            await handle.ended()
        return True
    finally:
        handle.close()


def _undo(pid: int) -> None:
    """Kill and reap a child that cannot be kept. It is not reaped yet, so the pid is valid."""
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _members_of(group: int, start_time: int) -> list[Found]:
    """Return the members of a group, or [] if the number has been reused."""
    leader = read_stat(group)
    if leader is not None and leader.start_time != start_time:
        return []
    stats = ((pid, read_stat(pid)) for pid in all_pids())
    return [Found(pid, stat.start_time) for pid, stat in stats if stat and stat.group == group]


def _signal_each(members: Iterable[Found], number: signal.Signals) -> None:
    """Signal each living process that this process may signal."""
    for found in members:
        with (
            suppress(ProcessLookupError, PermissionError),
            closing(open_process(found.pid)) as handle,
        ):
            if found.still_there():
                handle.send(number)
