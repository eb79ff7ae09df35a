"""Work on files that may not answer, in a child process that is watched.

A thread that waits for a dead mount can keep a process from ending, whatever it is sent; a child
that does so is left behind.
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
"""Seconds for each thing that is asked."""

Touch: TypeAlias = Callable[[object], None]
"""Is told what is asked next: a path."""


def forked() -> tuple[Touch | None, int]:
    """Fork, and return twice: in the child at once, what it tells before it asks for a file.

    In this process None and the exit code of the child, once that has ended and what it wrote has
    been written here: a child that is left behind holds no output. Raises `FailedError` here where
    the child asks in vain for something. Only for a process of one thread.
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
    """Wait for the end of the child; return what it asks for, where that does not answer."""
    told = b"\n"
    while select.select([reader], [], [], PATIENCE)[0]:
        more = os.read(reader, 4096)
        if not more:
            return None
        told = (told + more)[-8192:]
    return told.decode(errors="replace").splitlines()[-1] or "a file"
