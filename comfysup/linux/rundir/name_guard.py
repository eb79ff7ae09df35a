"""A name in the kernel that one process holds; no removal of a file lets go of it."""

import errno
import hashlib
import os
import socket
from pathlib import Path

from comfysup.linux.host.peer_credentials import peer_of


class NameTakenError(Exception):
    """Another process of ours, or of root's, holds the name: that with this `pid`."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"pid {pid} holds it")
        self.pid = pid


def hold_name(name: str) -> int | None:
    """Hold a name until the descriptor that is returned is closed; raises `NameTakenError`.

    It is an abstract socket. The name counts in this mount namespace alone: containers that share
    a network are apart. None where the name cannot be had for another reason.
    """
    try:
        space = Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return None
    word = hashlib.sha256(f"{space} {name}".encode(errors="surrogateescape")).hexdigest()[:32]
    address = f"\0comfysup-{word}"
    guard = socket.socket(socket.AF_UNIX)
    try:
        guard.bind(address)
        guard.listen(1)  # so that its holder can be asked for
    except OSError as error:
        guard.close()
        if error.errno == errno.EADDRINUSE and (holder := _holder(address)):
            raise NameTakenError(holder) from error
        return None
    return guard.detach()


def _holder(address: str) -> int | None:
    """Return the pid of whoever of ours, or root's, holds that name."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        try:
            caller.connect(address)
            pid, uid = peer_of(caller)
        except OSError:
            return None
    return pid if uid in {0, os.geteuid()} else None
