"""Standard output and error that never raise: a command does its work whether or not it is read.

A closed descriptor, a full disk and a pipe without a reader lose what is printed from then on. The
work of a command goes on; `lost` says afterwards why its output is incomplete.
"""

import errno
import io
import json
import os
import select
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO, TypeAlias

import click
from typing_extensions import Buffer, override

from comfysup.model.printable import printable_json

STDOUT: Final = 1
STDERR: Final = 2


class ExitWith(SystemExit):
    """Exits a command with the code of its work, even if output was lost."""


class DiscardingFile(io.RawIOBase):
    """Writes to a descriptor until that fails once; later writes are discarded."""

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        """Lose everything where the descriptor was `closed` when the program began."""
        self.lost: OSError | None = None
        self._descriptor = descriptor
        self._closed = closed

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @override
    def write(self, data: Buffer) -> int:
        if self._closed:
            self.lost = OSError(errno.EBADF, os.strerror(errno.EBADF))
        while self.lost is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process that shares the pipe made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


def protect_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr`; call this before anything is printed or opened.

    A standard descriptor that is closed is opened on /dev/null, so that no socket takes its number.
    Characters that the terminal's encoding lacks are written as escapes.
    """
    closed = _open_standard_descriptors()
    sys.stdout = _stream(STDOUT, sys.stdout, closed=STDOUT in closed)
    sys.stderr = _stream(STDERR, sys.stderr, closed=STDERR in closed)


def lost(stream: TextIO) -> OSError | None:
    """Return why output to this stream was lost, after writing out what it holds; else None."""
    file = _file(stream)
    if file is None:
        return None
    stream.flush()
    return file.lost


def reader_left(stream: TextIO) -> bool:
    """Return whether nothing that is written to this stream will be read any more."""
    return lost(stream) is not None


def await_reader_leaving() -> None:
    """Return once what reads standard output has closed it; never where that is a file."""
    watch = select.poll()
    watch.register(STDOUT, 0)  # POLLERR and POLLHUP are reported without being asked for
    while not watch.poll():
        pass


def has_left(error: OSError) -> bool:
    """Return whether the output was lost only because its reader has closed the pipe."""
    return error.errno == errno.EPIPE


def _file(stream: TextIO) -> DiscardingFile | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, DiscardingFile) else None


def _stream(descriptor: int, before: TextIO | None, *, closed: bool) -> TextIO:
    file = DiscardingFile(descriptor, closed=closed)
    encoding = before.encoding if before is not None else "utf-8"
    # Line buffering on stderr everywhere, as Python itself does.
    line_buffering = descriptor == STDERR or file.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=line_buffering
    )


def _open_standard_descriptors() -> set[int]:
    """Open those of stdin, stdout and stderr that are closed on /dev/null; return which."""
    opened = set()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
        opened.add(descriptor)
    os.close(descriptor)
    return opened


Instance: TypeAlias = Mapping[str, Any]
"""An instance as the daemon shows it."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the JSON of the API, of failures too."
)


def print_json(data: object) -> None:
    click.echo(printable_json(json.dumps(data, indent=2, ensure_ascii=False)))


def on_terminal() -> bool:
    return sys.stdout.isatty()


def label(instance: Instance) -> str:
    """How sentences name it: `0 'main'`."""
    return f"{instance['id']} '{instance['name']}'"


def sentence(instance: Instance) -> str:
    """Return one line on the state of an instance."""
    where = f"on port {instance['port']}, pid {instance['pid']}"
    match instance["state"]:
        case "running":
            what = f"is {click.style('ready', fg='green')} {where}"
            if instance["startup_seconds"] is not None:
                what += f", loaded in {instance['startup_seconds']:.1f} s"
        case "starting" if instance["pid"]:
            what = f"is still {click.style('loading', fg='cyan')} {where}"
        case "stopped":
            what = "stopped"
        case state:
            what = f"is {click.style(state, fg='yellow')}"
    return f"Instance {label(instance)} {what}"
