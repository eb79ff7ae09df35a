"""PID files for scripts that read them: written when a process exists, gone when it is."""

import asyncio
import os
from pathlib import Path

import structlog

from comfysup.system.log_pump import LogPump

log = structlog.get_logger()

PATIENCE = 1.0
"""Seconds that a volume which stalls is waited for; the file comes and goes later then."""


class PidFile:
    """The file `comfyui_instance_<id>.pid` of one process."""

    def __init__(self, directory: Path, instance: int, pid: int) -> None:
        self._path = directory / f"comfyui_instance_{instance}.pid"
        self._pid = pid

    def write(self) -> None:
        """Write it, whole or not at all; raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".pid.{os.getpid()}")
        draft.write_text(f"{self._pid}\n", "ascii")
        draft.replace(self._path)

    def remove(self) -> None:
        """Remove it, unless another process has written its own there."""
        try:
            if self._path.read_bytes().strip() == str(self._pid).encode():
                self._path.unlink()
        except OSError:
            return


class PidFileAside:
    """A PID file that lies where logs do, on a volume that may stall: their thread writes it.

    In the order in which it is told to: a file never outlives the process that has written it.
    """

    def __init__(self, file: PidFile, pump: LogPump) -> None:
        self._file = file
        self._pump = pump

    def write(self) -> None:
        """Have it written; an instance does not depend on it."""
        _ = self._pump.ask(self._write)

    def remove(self) -> asyncio.Future[None]:
        """Have it removed; waiting for that longer than `PATIENCE` is waiting for a volume."""
        return self._pump.ask(self._file.remove)

    def _write(self) -> None:
        try:
            self._file.write()
        except OSError as error:
            log.warning("pid_file.unwritable", error=str(error))
