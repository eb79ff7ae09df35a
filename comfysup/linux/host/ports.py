"""Finds the process that holds a port, and the peer of a unix socket."""

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
    """A listening process. All fields are None if the process is not visible.

    Another user's process hides its descriptors. A process in another container has no pid here.
    `command` is the command line, which can be long and can contain secrets.
    """

    pid: int | None
    program: str | None = None
    command: str | None = None

    def describe(self) -> str:
        """Return the process as error texts name it, for example `pid 123 'nginx'`."""
        if self.pid is None:
            return "a process that cannot be seen from here"
        return f"pid {self.pid}" if self.program is None else f"pid {self.pid} '{self.program}'"


def port_is_free(port: int) -> bool:
    """Return whether ComfyUI could bind that port now.

    ComfyUI binds 0.0.0.0 with SO_REUSEADDR (asyncio's default). A listener on any IPv4 address
    prevents that, as does one on `::` unless it is IPv6-only; TIME_WAIT does not. Raises OSError if
    the port is unavailable for another reason, for example a port below 1024 without the privilege.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as looker:
        looker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            looker.bind(("0.0.0.0", port))  # noqa: S104  # ComfyUI's address
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def owns_port(pid: int, port: int) -> bool:
    """Return whether `pid` or a descendant listens on that port, on any address.

    Reads only the listeners of this machine and the tree of `pid`. Takes some milliseconds, even
    with thousands of processes; most of it is the kernel's walk through its sockets.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return bool(sockets) and any(_holds(member, sockets) for member in _tree(pid))


def listener_of(port: int) -> Listener | None:
    """Return the process that listens on that port, or None.

    For error texts: this reads every process, up to 0.1 s with thousands of them.
    """
    found = [each for each in _sockets_on(port) if each.status == psutil.CONN_LISTEN]
    return _seen(each.pid for each in found) if found else None


def holder_of(port: int) -> str:
    """Describe what holds a port that cannot be bound, a listener or a connection, and until when.

    Any outgoing connection can occupy the port, until it ends and for one minute after. Reads every
    process, as `listener_of` does.
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
    """Yield the TCP sockets whose local port is `port`."""
    for each in psutil.net_connections("tcp"):
        if each.laddr and each.laddr.port == port:
            yield each


def _seen(pids: Iterable[int | None]) -> Listener:
    """Return the first visible process."""
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
    """Yield the inodes of the sockets that listen on that port, from /proc/net (proc(5)).

    The kernel lists listeners first, so reading stops at the first connection.
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
            continue  # the kernel has no IPv6


def _tree(pid: int) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        member = waiting.pop()
        yield member
        waiting += children_of(member)


def _holds(pid: int, sockets: set[str]) -> bool:
    """Return whether a process has one of these sockets open; False if gone or not visible."""
    directory = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(directory)  # noqa: PTH208  # takes half the time of Path
    except OSError:
        return False
    return any(_target(f"{directory}/{descriptor}") in sockets for descriptor in descriptors)


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115  # the same
    except OSError:
        return ""


_UCRED = struct.Struct("iII")
"""pid, uid and gid of the peer at the time of its connect(2)."""


def peer_of(peer: socket.socket | TransportSocket) -> tuple[int, int]:
    """Return the pid and uid of the peer of a unix socket. Raises OSError."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(credentials)
    return pid, uid


def is_owner(peer: socket.socket | TransportSocket) -> bool:
    """Return whether root or the user of this process opened that unix connection."""
    return peer_of(peer)[1] in {0, os.geteuid()}
