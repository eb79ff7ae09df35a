"""Accesses files that may not answer in a supervised child process.

A thread that waits for a dead mount can prevent the exit of its process, whatever the signal. A
child process that does so is abandoned.
"""

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Final, TypeAlias

from comfysup.cli.errors import FAILED, FailedError
from comfysup.cli.output import STDERR, STDOUT
from comfysup.model.printable import printable_line

PATIENCE: Final = 10.0
"""Seconds for each file access."""

Touch: TypeAlias = Callable[[object], None]
"""Receives the path of the next file access."""


def forked() -> tuple[Touch | None, int]:
    """Fork. In the child, return the function to call before each file access.

    In the parent, return None and the child's exit code after the child has ended. The parent
    writes the child's output, so an abandoned child holds none open. Raises `FailedError` in the
    parent if a file does not answer. The process must have a single thread.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    written = [os.memfd_create(name) for name in ("stdout", "stderr")]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        for memory, stream in zip(written, (STDOUT, STDERR), strict=True):
            os.dup2(memory, stream)
        return lambda what: _tell(writer, what), 0
    os.close(writer)
    try:
        asked = _follow(reader)
    finally:
        os.close(reader)
    for memory, output in zip(written, (sys.stdout, sys.stderr), strict=True):
        with open(memory, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            output.write(file.read().decode(errors="surrogateescape"))
    if asked is not None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)
        raise FailedError(f"{asked} has not answered for {PATIENCE:g} s")
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None, code if code >= 0 else FAILED


def _tell(writer: int, what: object) -> None:
    os.write(writer, f"{printable_line(str(what))}\n".encode())


def _follow(reader: int) -> str | None:
    """Wait for the end of the child. Return the path that does not answer, or None."""
    told = b"\n"
    while select.select([reader], [], [], PATIENCE)[0]:
        more = os.read(reader, 4096)
        if not more:
            return None
        told = (told + more)[-8192:]
    return told.decode(errors="replace").splitlines()[-1] or "a file"
