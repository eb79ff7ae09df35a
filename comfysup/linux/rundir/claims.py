"""Exclusive claims of one daemon: a lock in a shared directory, a name in the kernel."""

import errno
import fcntl
import hashlib
import os
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from comfysup.linux.host.ports import peer_of

LOGS = ".comfysup.lock"
INSTANCES = ".comfysup-instances.lock"
"""Lock file names in a log directory and in a workspace, which may be the same directory."""


class ClaimedError(Exception):
    """Another daemon holds the claim. The text is its description of itself."""


def claim(lock_file: Path, owner: str, *, make: bool) -> int | None:
    """Hold a lock in a directory until the returned descriptor is closed.

    `make` creates a missing directory. `owner` is written into the file for other daemons to read.
    Returns None if no lock is possible: the directory is missing, read-only, or on a file system
    without locks. Raises `ClaimedError` if another daemon holds it. May block on the volume.
    """
    try:
        if make:
            lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = _open(lock_file)
    except OSError:
        return None
    with ExitStack() as undo:
        undo.callback(os.close, lock)
        try:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                return None
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClaimedError(_holder(lock) or "another comfysup") from None
        except OSError:
            return None
        undo.pop_all()
    with suppress(OSError):  # the text is for people only
        os.ftruncate(lock, 0)
        os.pwrite(lock, owner.encode(errors="replace"), 0)
    return lock


def _holder(lock: int) -> str:
    """Return the text that the lock's holder wrote into the file, or "" if it is unreadable."""
    with suppress(OSError):
        return os.pread(lock, 200, 0).decode(errors="replace")
    return ""


def _open(lock_file: Path) -> int:
    """Open or create the file. Another user's file can also be locked. Raises OSError."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(lock_file, flags | os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        return os.open(lock_file, flags | os.O_RDONLY)


class NameTakenError(Exception):
    """A process of this user or of root holds the name; `pid` identifies it."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"pid {pid} holds it")
        self.pid = pid


def hold_name(name: str) -> int | None:
    """Hold a name until the returned descriptor is closed. Raises `NameTakenError`.

    The name is an abstract socket and includes the mount namespace, so containers that share a
    network do not conflict. Returns None if the name is unavailable for another reason.
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
        guard.listen(1)  # lets others query its owner
    except OSError as error:
        guard.close()
        if error.errno == errno.EADDRINUSE and (holder := _holder_of_name(address)):
            raise NameTakenError(holder) from error
        return None
    return guard.detach()


def _holder_of_name(address: str) -> int | None:
    """Return the pid of the process, of this user or root, that holds the name, or None."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        try:
            caller.connect(address)
            pid, uid = peer_of(caller)
        except OSError:
            return None
    return pid if uid in {0, os.geteuid()} else None
