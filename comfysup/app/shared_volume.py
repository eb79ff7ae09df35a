"""What this daemon shares with others on one volume, and what its own is called then."""

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
"""Seconds for which a volume is waited for."""

LATE = (
    "this daemon uses it too, since the directory answered too late; "
    "`comfysup daemon restart` asks again"
)
"""What is said of a directory whose answer was not waited for, and that another daemon has."""


class Sharing:
    """Claims directories until `resources` are closed. `own` is how what is ours is named else."""

    def __init__(
        self, port: int, executor: Executor, resources: AsyncExitStack, report: Report
    ) -> None:
        """`port` is the daemon's; `report` hears of directories that another daemon has."""
        name = "".join(char if char.isalnum() else "-" for char in socket.gethostname())
        self.own = f"{name}-{port}"
        self._owner = f"comfysup on {socket.gethostname()}:{port} with pid {os.getpid()}"
        self._executor = executor
        self._resources = resources
        self._report = report

    async def own_logs(self, paths: Paths) -> Paths:
        """Return places whose logs and PID files no other daemon writes.

        Where one writes them already they are in a directory of our own below.
        """
        own = paths.logs / self.own
        remedy = f"the logs of this daemon are in {own}; COMFYSUP_LOG_DIR chooses another directory"
        if await self.logs_are_anothers(paths.logs, remedy):
            return replace(paths, logs=own, pids=paths.pids / self.own)
        return paths

    async def own_suffix(self, workspace: Path) -> str:
        """Return what the temp directories and databases of instances are named by beside their id.

        Nothing, unless another daemon runs instances of the same environments.
        """
        remedy = (
            f"its instances and those of this daemon share environments; the latter have temp "
            f"directories and databases of their own, whose names end in -{self.own}"
        )
        return self.own if await self.workspace_is_anothers(workspace, remedy) else ""

    async def logs_are_anothers(self, directory: Path, remedy: str) -> bool:
        """Claim a directory of logs, made if need be, and say whether another daemon has it.

        `remedy` says what is done because of that, after who has it. A volume that does not answer
        is not waited for: whoever has it is said when it does.
        """
        return await self._is_anothers(directory / LOGS, remedy, make=True)

    async def workspace_is_anothers(self, directory: Path, remedy: str) -> bool:
        """Claim the instances of a workspace likewise; one that is not there is not made."""
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
