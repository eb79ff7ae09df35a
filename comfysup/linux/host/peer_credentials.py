"""Who is at the other end of a unix socket, as the kernel says."""

import os
import socket
import struct
from asyncio.trsock import TransportSocket

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
