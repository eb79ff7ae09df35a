"""Where the daemon's own log goes: out of the process at once, and never in the daemon's way."""

import os
import select
from contextlib import suppress

STDERR = 2


PATIENCE_MS = 100
"""Milliseconds that a reader is waited for who does not keep up; not again before it has."""

AT_ONCE = select.PIPE_BUF
"""Bytes that a pipe takes without waiting when it says that it takes any (poll(2), pipe(7))."""


class LogStream:
    """Writes to stderr as far as that takes anything.

    A full disk, a pipe that nobody reads any more and a reader that has stopped lose lines of this
    log, which is said when it goes on; waited for or raised where the line was written, they would
    cost instances.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._line = ""
        self._door = select.poll()
        self._door.register(STDERR, select.POLLOUT)

    def write(self, text: str) -> int:
        self._line += text
        if not self._line.endswith("\n"):  # print() writes the end of a line by itself
            return len(text)
        rest, self._line = self._line.encode(errors="replace"), ""
        if self._lost and self._takes_any(0):
            rest = (
                b'\n{"event": "log.lost", "level": "warning", "writes": %d}\n' % self._lost + rest
            )
            self._lost = 0
        with suppress(OSError):
            while rest and self._takes_any(0 if self._lost else PATIENCE_MS):
                rest = rest[os.write(STDERR, rest[:AT_ONCE]) :]
        self._lost += bool(rest)
        return len(text)

    def _takes_any(self, patience: int) -> bool:
        return any(event & select.POLLOUT for _, event in self._door.poll(patience))

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def isatty(self) -> bool:
        return os.isatty(STDERR)


def hold_standard_descriptors() -> None:
    """Let stdin, stdout and stderr be something, so that no other file becomes one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
    os.close(descriptor)
