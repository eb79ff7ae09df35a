"""Moves a file without loss and without overwriting, even if the process dies."""

import errno
import fcntl
import filecmp
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}

_DRAFT = re.compile(r"\..{1,64}\.comfysup-[0-9a-f]{8}", re.DOTALL)
"""The name of an unfinished copy. Its writer holds a lock on it (flock(2))."""


class NotMovedError(Exception):
    """A file that was not moved. The text gives the reason."""


def move(source: Path, target: Path, tree: Path | None = None) -> None:
    """Move a file or symbolic link to a free path. Raises `NotMovedError`.

    Within a file system the file is renamed. Across file systems it is copied, compared, and only
    then removed. `tree` is a directory that moves as a whole: links within it are kept unchanged.
    """
    try:
        if source.is_symlink():
            _move_link(source, target, tree)
            return
        try:
            _rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target)
    except FileExistsError as error:
        raise NotMovedError("a file of that name was created meanwhile") from error
    except OSError as error:
        raise NotMovedError(error.strerror or repr(error)) from error


def same_content(one: Path, other: Path) -> bool:
    """Compare two files byte by byte."""
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)


def _rename(source: Path, target: Path) -> None:
    """Give it another name; unlike rename(2), a link(2) never overwrites."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError from error
        source.rename(target)
    else:
        source.unlink()


def _move_link(source: Path, target: Path, tree: Path | None) -> None:
    """Make the same link there; one that leads out of its tree by a relative way gets absolute."""
    text = source.readlink()
    if not text.is_absolute() and ".." in text.parts:
        there = Path(os.path.normpath(source.parent / text))
        if tree is None or not there.is_relative_to(tree):
            text = there
    target.symlink_to(text)
    source.unlink()


def _copy(source: Path, target: Path) -> None:
    before = source.stat()
    if shutil.disk_usage(target.parent).free < before.st_size:
        raise NotMovedError("not enough disk space")
    with _locked_draft(target) as draft:
        shutil.copy2(source, draft)
        _flush(draft)
        _compare(source, draft, before)
        _rename(draft, target)
    source.unlink()


@contextmanager
def _locked_draft(target: Path) -> Iterator[Path]:
    """Create a draft next to `target` and lock it; remove it on an error."""
    draft = target.with_name(f".{target.name[:64]}.comfysup-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: nothing removes the draft there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield draft
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def remove_drafts(directory: Path) -> list[Path]:
    """Remove abandoned copies in a directory and return their paths.

    The process that wrote such a copy has died, and the original file still exists. A draft that is
    locked, or whose lock cannot be tested, is kept.
    """
    drafts = [Path(entry) for entry in os.scandir(directory) if _DRAFT.fullmatch(entry.name)]
    return [draft for draft in drafts if _remove_unlocked(draft)]


def _remove_unlocked(draft: Path) -> bool:
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _compare(source: Path, copy: Path, before: os.stat_result) -> None:
    after = source.stat()
    unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not unchanged or not same_content(source, copy):
        raise NotMovedError("it changed while it was copied")


def _flush(file: Path) -> None:
    """Flush the file to disk, and compare the content on the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
