"""Detects directories that this daemon shares with others, and names its own part of them."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from comfysup.app.launcher import Paths
from comfysup.linux.conditions import Report
from comfysup.linux.executor import Executor
from comfysup.linux.rundir.claims import INSTANCES, LOGS, ClaimedError, claim

log = structlog.get_logger()

PATIENCE = 10.0
"""Seconds to wait for a volume."""

LATE = (
    "this daemon uses it too, since the directory answered too late; "
    "`comfysup daemon restart` asks again"
)
"""The remark on a directory that answered too late, and that another daemon has claimed."""


class Sharing:
    """Claims directories until `resources` are closed; `own` names this daemon's part of them."""

    def __init__(
        self, port: int, executor: Executor, resources: AsyncExitStack, report: Report
    ) -> None:
        """`port` is the daemon's; `report` receives directories that another daemon claimed."""
        name = "".join(char if char.isalnum() else "-" for char in socket.gethostname())
        self.own = f"{name}-{port}"
        self._owner = f"comfysup on {socket.gethostname()}:{port} with pid {os.getpid()}"
        self._executor = executor
        self._resources = resources
        self._report = report

    async def own_logs(self, paths: Paths) -> Paths:
        """Return paths whose logs and PID files no other daemon writes.

        If another daemon has claimed the log directory, the paths are subdirectories named `own`.
        """
        own = paths.logs / self.own
        remedy = f"the logs of this daemon are in {own}; COMFYSUP_LOG_DIR chooses another directory"
        if await self.logs_are_anothers(paths.logs, remedy):
            return replace(paths, logs=own, pids=paths.pids / self.own)
        return paths

    async def own_suffix(self, workspace: Path) -> str:
        """Return the suffix for the instances' temporary directories and databases.

        The suffix is empty unless another daemon runs instances of the same environments.
        """
        remedy = (
            f"its instances and those of this daemon share environments; the latter have temp "
            f"directories and databases of their own, whose names end in -{self.own}"
        )
        return self.own if await self.workspace_is_anothers(workspace, remedy) else ""

    async def logs_are_anothers(self, directory: Path, remedy: str) -> bool:
        """Claim a log directory, creating it if missing; return whether another daemon has it.

        `remedy` completes the report, which names the owner. A volume that does not answer in time
        counts as not shared; its owner is reported once the volume answers.
        """
        return await self._is_anothers(directory / LOGS, remedy, make=True)

    async def workspace_is_anothers(self, directory: Path, remedy: str) -> bool:
        """Claim a workspace for instances in the same way, without creating a missing directory."""
        return await self._is_anothers(directory / INSTANCES, remedy, make=False)

    async def _is_anothers(self, lock_file: Path, remedy: str, *, make: bool) -> bool:
        directory = lock_file.parent
        work = partial(claim, lock_file, self._owner, make=make)
        claiming = self._executor.submit(work, f"the claim on {directory}")
        await asyncio.wait([claiming], timeout=PATIENCE)
        if not claiming.done():
            log.warning("directory.not_claimed", directory=str(directory), error="no answer")
            claiming.add_done_callback(partial(self._claimed, directory, LATE))
            return False
        return self._claimed(directory, remedy, claiming)

    def _claimed(self, directory: Path, remedy: str, claiming: asyncio.Future[int | None]) -> bool:
        if claiming.cancelled():
            return False
        match claiming.exception():
            case None:
                if (lock := claiming.result()) is not None:
                    self._resources.callback(os.close, lock)
                return False
            case ClaimedError() as holder:
                self._report(directory, f"{holder} has {directory}: {remedy}")
                log.warning("directory.shared", directory=str(directory), holder=str(holder))
                return True
            case error:
                log.warning("directory.not_claimed", directory=str(directory), error=str(error))
                return False
