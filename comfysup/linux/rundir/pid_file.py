"""PID files for scripts that read them: written when a process exists, gone when it is."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import structlog

from comfysup.linux.rundir.own_files import create_own, open_own

log = structlog.get_logger()

_LONGEST = 32
"""Bytes of a PID file that are looked at."""

PATIENCE = 1.0
"""Seconds that a volume which stalls is waited for; the file comes and goes later then."""


class PidFile:
    """The file `comfyui_instance_<id>.pid` of one process."""

    def __init__(self, directory: Path, instance: int, pid: int) -> None:
        self.path = directory / f"comfyui_instance_{instance}.pid"
        self._pid = pid

    def write(self) -> None:
        """Write it, whole or not at all; raises OSError."""
        draft = self.path.with_suffix(f".pid.{os.getpid()}")
        with os.fdopen(create_own(draft, os.O_WRONLY, 0o644), "w", encoding="ascii") as file:
            file.write(f"{self._pid}\n")
        draft.replace(self.path)

    def remove(self) -> None:
        """Remove it, unless another process has written its own there."""
        try:
            with os.fdopen(open_own(self.path, os.O_RDONLY), "rb") as file:
                written = file.read(_LONGEST)
            if written.strip() == str(self._pid).encode():
                self.path.unlink()
        except OSError:
            return


Submit: TypeAlias = Callable[[Callable[[], None], Path], asyncio.Future[None]]
"""Runs a function that works on that file in a thread, after all that was submitted before."""


class PidFileAside:
    """A PID file that lies where logs do, on a volume that may stall: their thread writes it.

    In the order in which it is told to: a file never outlives the process that has written it.
    """

    def __init__(self, file: PidFile, submit: Submit) -> None:
        self._file = file
        self._submit = submit

    def write(self) -> None:
        """Have it written; an instance does not depend on it."""
        _ = self._submit(self._write, self._file.path)

    def remove(self) -> asyncio.Future[None]:
        """Have it removed; waiting for that longer than `PATIENCE` is waiting for a volume."""
        return self._submit(self._file.remove, self._file.path)

    def _write(self) -> None:
        try:
            self._file.write()
        except OSError as error:
            log.warning("pid_file.unwritable", error=str(error))
