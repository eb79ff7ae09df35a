"""Monitors the run directory while the daemon runs, and recreates removed files.

A check takes some microseconds. It needs no inotify, which not every kernel grants. inotify would
not report a mount over the directory or a move of its parent.
"""

import asyncio
from collections.abc import Callable

import structlog

from comfysup.api.server.listening import Listening
from comfysup.app.state_store import StateStore
from comfysup.linux.conditions import Conditions
from comfysup.linux.rundir.run_directory import RunDirectory, RunDirectoryError
from comfysup.linux.rundir.state_file import BROKEN

log = structlog.get_logger()

LOOK_EVERY = 1.0
"""Seconds between two checks."""


class RunDirectoryMonitor:
    """Recreates missing parts of the run directory, and reports that."""

    def __init__(
        self,
        run: RunDirectory,
        doors: Listening,
        store: StateStore,
        troubles: Conditions,
        remember: Callable[[], None],
    ) -> None:
        """`remember` is called at each check; it writes missing settings and queues."""
        self._run = run
        self._doors = doors
        self._store = store
        self._troubles = troubles
        self._remember = remember

    async def watch(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Check once; raises nothing that the run directory causes."""
        for file in self._troubles.files:
            if file.suffix == BROKEN and not file.exists():  # removed by the operator
                self._troubles.report(file, None)
        try:
            mended = self._run.mend()
            if not self._run.socket.is_socket():
                await self._doors.listen_anew(self._run.socket)
                mended.append(self._run.socket.name)
        except (RunDirectoryError, OSError) as error:
            self._troubles.report(self._run.path, f"the run directory is damaged: {error}")
            return
        if not (self._run.state.exists() or self._store.is_behind):
            self._store.write()
        self._remember()
        if mended:
            log.warning("run_directory.mended", path=str(self._run.path), made_anew=mended)
            self._troubles.report(
                self._run.path,
                f"{self._run.path}: recreated {', '.join(mended)}, which was removed",
            )
        else:
            self._troubles.report(self._run.path, None)
