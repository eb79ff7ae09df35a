"""Files in directories that others may write to: what somebody else has laid there is not used.

Logs and PID files lie in a workspace whose owner need not be the user of the daemon. A link, a FIFO
or a hard link there would let root truncate, append to or show any file of the machine. So no link
to a file is followed, and a file must be a regular one of our own or of root. A directory may be a
link (a volume): it is followed if root or we have made it.

Some mounts give every file one owner, whoever makes it (NFS with squashed root, SMB, 9p). There a
file that we make shows who "we" are.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

ROOT = 0


class ForeignFileError(OSError):
    """Something that is not used because of what it is or whose it is; `strerror` says why."""


def open_own(path: Path, flags: int) -> int:
    """Open a file that is there, without waiting for anybody; raises OSError.

    The error is a `ForeignFileError` where it is a link, no regular file, or somebody else's.
    """
    check_directory(path.parent)
    _check(path, path.lstat())
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor))
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create_own(path: Path, flags: int, mode: int) -> int:
    """Make a file and open it; what stood there under its name goes, but no directory.

    Makes the directory too; raises OSError.
    """
    check_directory(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    new = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, new, mode)


def check_directory(path: Path) -> None:
    """Raise a `ForeignFileError` where the way to a directory leads over somebody else's link."""
    for each in (*reversed(path.parents), path):
        try:
            found = each.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode) and not _is_ours(found, each.parent):
            raise ForeignFileError(
                errno.ELOOP, f"{each} is a link that user {found.st_uid} has made", str(path)
            )


def foreign_owner(directory: Path) -> int | None:
    """Return the user, neither root nor we, who owns a directory and so each name in it."""
    found = directory.stat()
    return None if _is_ours(found, directory) else found.st_uid


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        why = f"{os.strerror(errno.ELOOP)}: it is a link, which is not followed; remove it"
        raise ForeignFileError(errno.ELOOP, why, str(path))
    if not stat.S_ISREG(found.st_mode):
        raise ForeignFileError(errno.EINVAL, "it is not a regular file; remove it", str(path))
    if not _is_ours(found, path.parent):
        why = f"it belongs to user {found.st_uid}, not to root or us; remove it, or `chown` it"
        raise ForeignFileError(errno.EPERM, why, str(path))
    if found.st_nlink > 1 and _is_open_to_others(path.parent):
        raise ForeignFileError(
            errno.EMLINK, "it has a second name (a hard link); remove it", str(path)
        )


def _is_ours(found: os.stat_result, directory: Path) -> bool:
    if found.st_uid in (ROOT, os.geteuid()):
        return True
    with suppress(OSError):
        return found.st_uid == _owner_of_new(directory)
    return False


def _is_open_to_others(directory: Path) -> bool:
    """Whether somebody else may put names into a directory."""
    found = directory.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid not in (ROOT, os.geteuid()) or bool(found.st_mode & others)


def _owner_of_new(directory: Path) -> int:
    """Return whose a file is that we make there; raises OSError."""
    probe = directory / f".comfysup-{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        probe.unlink()
