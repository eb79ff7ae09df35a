"""PID files for scripts that read them: written when a process exists, gone when it is."""

import os
from pathlib import Path


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
