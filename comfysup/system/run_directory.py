"""The directory of the running daemon, which is the container's own and never on a volume.

<run>/
├── daemon.lock      held by the daemon, names its pid
├── api.sock         the HTTP API, for whoever is on this machine
├── state.json       what the next daemon would have to know
├── identity         a random word: the first part of every marker
├── queue/           what each instance's ComfyUI was given to do
├── fifo/            one FIFO for each living generation
└── session/         what an instance leaves to say that it wants to be started again
"""

import fcntl
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self


class RunDirectoryError(Exception):
    """The run directory cannot be used; the text says why and what to do."""


class RunDirectory:
    """A run directory that this process alone uses, for as long as it lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._kept = False

    @classmethod
    def take(cls, path: Path, lock: int | None = None) -> Self:
        """Create and check the directory and lock it; raises `RunDirectoryError`.

        The kernel lets the lock go with the process that holds it, however that ends. `lock` is
        the descriptor of one that this process holds already.
        """
        _create(path)
        for name in ("fifo", "queue", "session"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
        if lock is not None:
            return cls(path, lock)
        lock = os.open(path / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode().strip() or "unknown"
            os.close(lock)
            raise RunDirectoryError(
                f"cannot use {path}: a comfysup with pid {holder} is running there"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock)

    @property
    def socket(self) -> Path:
        return self.path / "api.sock"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    def fifo(self, instance: int, generation: int) -> Path:
        return self.path / "fifo" / f"{instance}.{generation}"

    def queue(self, instance: int) -> Path:
        return self.path / "queue" / f"{instance}.json"

    def session(self, instance: int) -> Path:
        """Return the prefix under which that instance asks to be started again."""
        return self.path / "session" / str(instance)

    def identity(self) -> str:
        """Return the word that tells this daemon's processes from those of others."""
        path = self.path / "identity"
        with suppress(FileNotFoundError):
            if found := path.read_text("ascii"):
                return found
        word = secrets.token_hex(8)
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(word, "ascii")
        draft.replace(path)
        return word

    def keep_lock(self) -> int:
        """Return a descriptor that holds the lock on when this one lets go of it."""
        self._kept = True
        return os.dup(self._lock)

    def release(self) -> None:
        """Let go of it in good order; its socket goes, unless the lock was kept."""
        if not self._kept:
            with suppress(OSError):  # a stale one hinders nobody
                self.socket.unlink()
        os.close(self._lock)


def _create(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        raise RunDirectoryError(f"cannot use {path} as run directory: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RunDirectoryError(f"cannot use {path} as run directory: it is not a directory")
    if found.st_uid != os.geteuid():
        raise RunDirectoryError(
            f"cannot use {path} as run directory: it belongs to user {found.st_uid}"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RunDirectoryError(
            f"cannot use {path} as run directory: others can write to it; chmod 700 mends that"
        )
