"""Safe access to files in directories that other users can write to.

Logs and PID files are in a workspace that may belong to another user. A link, a FIFO or a hard link
there could make root truncate, append to, or show any file. So links to files are not followed, and
a file must be a regular one that this user or root owns. A directory may be a link (a volume) if
this user or root created it.

Some mounts assign one owner to every file (NFS with squashed root, SMB, 9p). There a probe file
shows which owner stands for this user.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

ROOT = 0


class ForeignFileError(OSError):
    """A file that is not used because of its kind or its owner; `strerror` gives the reason."""


def open_own(path: Path, flags: int) -> int:
    """Open an existing file without blocking and return its descriptor. Raises OSError.

    Raises `ForeignFileError` if the file is a link, not regular, or another user's.
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
    """Create a file, replacing any file or link of that name, and return its descriptor.

    Creates the directory if needed. Raises OSError.
    """
    check_directory(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    new = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, new, mode)


def check_directory(path: Path) -> None:
    """Raise `ForeignFileError` if another user's link is part of the directory's path."""
    for each in (*reversed(path.parents), path):
        try:
            found = each.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode) and not _is_ours(found, each.parent):
            raise ForeignFileError(
                errno.ELOOP, f"{each} is a link that user {found.st_uid} created", str(path)
            )


def foreign_owner(directory: Path) -> int | None:
    """Return the uid that owns a directory, or None if it is this user or root."""
    found = directory.stat()
    return None if _is_ours(found, directory) else found.st_uid


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        why = f"{os.strerror(errno.ELOOP)}: it is a link, which is not followed; remove it"
        raise ForeignFileError(errno.ELOOP, why, str(path))
    if not stat.S_ISREG(found.st_mode):
        raise ForeignFileError(errno.EINVAL, "it is not a regular file; remove it", str(path))
    if not _is_ours(found, path.parent):
        owner = f"it belongs to user {found.st_uid}, not to root or comfysup's user"
        why = f"{owner}; remove it, or `chown` it"
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
    """Return whether another user may create names in a directory."""
    found = directory.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid not in (ROOT, os.geteuid()) or bool(found.st_mode & others)


def _owner_of_new(directory: Path) -> int:
    """Return the owner of a file that this process creates there. Raises OSError."""
    probe = directory / f".comfysup-{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        probe.unlink()
