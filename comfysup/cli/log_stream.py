"""Where the daemon's own log goes: out of the process at once, and never in the daemon's way."""

import os
from contextlib import suppress

STDERR = 2


class LogStream:
    """Writes to stderr as far as that takes anything.

    A full disk or a pipe that nobody reads any more loses lines of this log; raised where the
    line was written, it would cost an instance.
    """

    def write(self, text: str) -> int:
        rest = text.encode(errors="replace")
        with suppress(OSError):
            while rest:
                rest = rest[os.write(STDERR, rest) :]
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def isatty(self) -> bool:
        return os.isatty(STDERR)


def hold_standard_descriptors() -> None:
    """Let stdin, stdout and stderr be something, so that no other file becomes one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
    os.close(descriptor)
