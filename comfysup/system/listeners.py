"""Who listens on a TCP port of this machine."""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from comfysup.system.proc import children_of

_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens; all None where it cannot be seen from here.

    Another user's process hides its descriptors, and one of another container its pid.
    `command` is its command line, which may be long and may hold secrets.
    """

    pid: int | None
    program: str | None = None
    command: str | None = None

    def describe(self) -> str:
        """How error texts name it: `pid 123 'nginx'`."""
        if self.pid is None:
            return "a process that cannot be seen from here"
        return f"pid {self.pid}" if self.program is None else f"pid {self.pid} '{self.program}'"


def port_is_free(port: int) -> bool:
    """Say whether ComfyUI could open that port now.

    It binds to 0.0.0.0 with SO_REUSEADDR (asyncio's default), which TIME_WAIT does not hinder and
    a listener on any IPv4 address does, or on `::` unless that is for IPv6 alone. Raises OSError
    where the port cannot be had for another reason (below 1024 for a user).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as looker:
        looker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            looker.bind(("0.0.0.0", port))  # noqa: S104  # what ComfyUI binds to
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def owns_port(pid: int, port: int) -> bool:
    """Say whether a listener on that port, of any address, belongs to `pid` or a descendant.

    Looks at nothing but the listeners of this machine and the tree of `pid`. That takes some
    milliseconds, also beside thousands of processes: the kernel's walk through its sockets.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return bool(sockets) and any(_holds(member, sockets) for member in _tree(pid))


def listener_of(port: int) -> Listener | None:
    """Return who listens on that port, or None when nobody does.

    For an error text: it looks at every process, which takes up to a tenth of a second where
    there are thousands.
    """
    pids = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    ]
    if not pids:
        return None
    pid = next((pid for pid in pids if pid is not None), None)
    if pid is None:
        return Listener(None)
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Listener(pid, process.name(), " ".join(process.cmdline()))
    except psutil.Error:
        return Listener(pid)


def _listening_inodes(port: int) -> Iterator[str]:
    """Yield the inodes of the listening sockets of that port, from /proc/net (proc(5)).

    The kernel lists listeners before all else, so that the connections need not be read.
    """
    suffix = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with Path(table).open(encoding="ascii") as lines:
                next(lines, None)
                for line in lines:
                    fields = line.split()
                    if fields[3] != _LISTEN:
                        break
                    if fields[1].endswith(suffix):
                        yield fields[9]
        except FileNotFoundError:
            continue  # a kernel without IPv6


def _tree(pid: int) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        member = waiting.pop()
        yield member
        waiting += children_of(member)


def _holds(pid: int, sockets: set[str]) -> bool:
    """Say whether that process has one of the sockets open; not where it is gone or hides it."""
    directory = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(directory)  # noqa: PTH208  # half the time of Path
    except OSError:
        return False
    return any(_target(f"{directory}/{descriptor}") in sockets for descriptor in descriptors)


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115  # likewise
    except OSError:
        return ""
