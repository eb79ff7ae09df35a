"""Who has a port, and who is at the other end of a socket."""

import errno
import os
import socket
import struct
from asyncio.trsock import TransportSocket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from comfysup.linux.process.proc import children_of

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
    found = [each for each in _sockets_on(port) if each.status == psutil.CONN_LISTEN]
    return _seen(each.pid for each in found) if found else None


def holder_of(port: int) -> str:
    """Say who has a port that cannot be opened, and until when: a listener, or a connection.

    A connection from that port, as every outgoing one has some port, keeps it until it ends, and
    for a minute after that. Looks at every process, as `listener_of` does.
    """
    if (listener := listener_of(port)) is not None:
        return listener.describe()
    found = list(_sockets_on(port))
    alive = [each for each in found if each.status != psutil.CONN_TIME_WAIT]
    if alive:
        first = alive[0]
        far = f" to {first.raddr.ip} port {first.raddr.port}" if first.raddr else ""
        whose = _seen(each.pid for each in alive).describe()
        return f"a connection{far} of {whose}; the port is free when that ends"
    if found:
        return "a connection that has ended (TIME_WAIT); the port is free within a minute"
    return (
        "a socket that is bound and does not listen, or by a process that cannot be seen from here"
    )


def _sockets_on(port: int) -> Iterator[Any]:
    """Yield the TCP sockets that have that port on this machine."""
    for each in psutil.net_connections("tcp"):
        if each.laddr and each.laddr.port == port:
            yield each


def _seen(pids: Iterable[int | None]) -> Listener:
    """Return the first process that can be seen."""
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


_UCRED = struct.Struct("iII")
"""pid, uid and gid, as they were when the other end connected."""


def peer_of(peer: socket.socket | TransportSocket) -> tuple[int, int]:
    """Return pid and uid of whoever is at the other end of that unix socket; raises OSError."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(credentials)
    return pid, uid


def is_owner(peer: socket.socket | TransportSocket) -> bool:
    """Whether root or the user of this process connected to that unix socket."""
    return peer_of(peer)[1] in {0, os.geteuid()}
