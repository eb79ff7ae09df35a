"""The logs with dropped bytes that no line of the log reports yet.

A log that takes no bytes cannot take that line either, and the daemon may die first. The next
daemon, or a later writer of the same log, writes it.
"""

import json
from pathlib import Path

from comfysup.linux.rundir.state_file import StateFile


class UnreportedLosses:
    """The paths of such logs, stored in a file of the run directory; used by one thread."""

    def __init__(self, file: StateFile | None = None) -> None:
        """Start with the paths in the file; without a file nothing is persisted."""
        self._file = file
        self._logs = _read(file) if file else set()

    def __contains__(self, log_file: Path) -> bool:
        return str(log_file) in self._logs

    def note(self, log_file: Path) -> None:
        """Record that bytes of this log were dropped and not reported in it."""
        if log_file not in self:
            self._logs.add(str(log_file))
            self._write()

    def settle(self, log_file: Path) -> None:
        """Remove a log that now reports its loss."""
        if log_file in self:
            self._logs.remove(str(log_file))
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        if self._logs:
            self._file.write(json.dumps(sorted(self._logs)).encode())
        else:
            self._file.forget()


def _read(file: StateFile) -> set[str]:
    """Return the paths in the file; empty if it is damaged."""
    try:
        names = json.loads(file.read() or b"[]")
    except (OSError, ValueError, RecursionError):
        return set()
    return {each for each in names if isinstance(each, str)} if isinstance(names, list) else set()
