"""What one daemon holds and no other may: a shared directory, a name in the kernel."""

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
"""The names of the locks in a directory of logs and in a workspace, which may be the same."""


class ClaimedError(Exception):
    """Another daemon has it; the text is what that says of itself."""


def claim(lock_file: Path, owner: str, *, make: bool) -> int | None:
    """Hold a lock in a directory until the descriptor that is returned is closed.

    With `make` a directory that is missing is made. `owner` is written into the file, for the next
    daemon to read. Returns None where there is no lock to be had: the directory is missing, or its
    file system has no locks or cannot be written to. Raises `ClaimedError`. May block: the
    directory lies on a volume.
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
    with suppress(OSError):  # it is for people
        os.ftruncate(lock, 0)
        os.pwrite(lock, owner.encode(errors="replace"), 0)
    return lock


def _holder(lock: int) -> str:
    """Return what the daemon that holds the lock wrote of itself; nothing where that is unknown."""
    with suppress(OSError):
        return os.pread(lock, 200, 0).decode(errors="replace")
    return ""


def _open(lock_file: Path) -> int:
    """Open or make the file; one of another user can be locked too. Raises OSError."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(lock_file, flags | os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        return os.open(lock_file, flags | os.O_RDONLY)


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
        if error.errno == errno.EADDRINUSE and (holder := _holder_of_name(address)):
            raise NameTakenError(holder) from error
        return None
    return guard.detach()


def _holder_of_name(address: str) -> int | None:
    """Return the pid of whoever of ours, or root's, holds that name."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        try:
            caller.connect(address)
            pid, uid = peer_of(caller)
        except OSError:
            return None
    return pid if uid in {0, os.geteuid()} else None
