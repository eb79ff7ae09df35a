"""PID files for scripts: written when a process exists, removed when it has ended."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import structlog

from comfysup.linux.rundir.own_files import create_own, open_own

log = structlog.get_logger()

_LONGEST = 32
"""Number of bytes of a PID file that are read."""

PATIENCE = 1.0
"""Seconds to wait for a stalled volume. After that the file is written or removed later."""


class PidFile:
    """The file `comfyui_instance_<id>.pid` of one process."""

    def __init__(self, directory: Path, instance: int, pid: int) -> None:
        self.path = directory / f"comfyui_instance_{instance}.pid"
        self._pid = pid

    def write(self) -> None:
        """Write the file atomically. Raises OSError."""
        draft = self.path.with_suffix(f".pid.{os.getpid()}")
        with os.fdopen(create_own(draft, os.O_WRONLY, 0o644), "w", encoding="ascii") as file:
            file.write(f"{self._pid}\n")
        draft.replace(self.path)

    def remove(self) -> None:
        """Remove the file unless it holds another pid. Ignores errors."""
        try:
            with os.fdopen(open_own(self.path, os.O_RDONLY), "rb") as file:
                written = file.read(_LONGEST)
            if written.strip() == str(self._pid).encode():
                self.path.unlink()
        except OSError:
            return


Submit: TypeAlias = Callable[[Callable[[], None], Path], asyncio.Future[None]]
"""Runs a function for that file in a thread, after all functions submitted earlier."""


class PidFileAside:
    """A PID file in the log directory, written by the log thread because the volume may stall.

    Operations run in the order of their calls, so no file outlives its process.
    """

    def __init__(self, file: PidFile, submit: Submit) -> None:
        self._file = file
        self._submit = submit

    def write(self) -> None:
        """Submit the write. A failure is logged and does not affect the instance."""
        _ = self._submit(self._write, self._file.path)

    def remove(self) -> asyncio.Future[None]:
        """Submit the removal. The volume has stalled if the future takes longer than `PATIENCE`."""
        return self._submit(self._file.remove, self._file.path)

    def _write(self) -> None:
        try:
            self._file.write()
        except OSError as error:
            log.warning("pid_file.unwritable", error=str(error))
