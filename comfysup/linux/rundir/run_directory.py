"""The directory of the running daemon, which is the container's own and never on a volume.

<run>/
├── daemon.lock      held by the daemon, names its pid
├── api.sock         the HTTP API, for processes on this machine
├── state.json       what the next daemon would have to know
├── settings.json   the last settings that were good, without the tokens
├── heartbeat       when the daemon last turned its event loop
├── losses.json      logs that lack bytes and do not say so yet
├── identity         a random word: the first part of every marker
├── queue/           what each instance's ComfyUI was given to do
├── fifo/            one FIFO for each living generation
└── session/         what an instance leaves to say that it wants to be started again
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import structlog

from comfysup.config.run_location import SETTINGS_NAME, SHARED, SOCKET_NAME
from comfysup.linux.rundir.claims import NameTakenError, hold_name
from comfysup.linux.rundir.state_file import read_regular

log = structlog.get_logger()

LOCK_NAME = "daemon.lock"
SUBDIRECTORIES = ("fifo", "queue", "session")

_IDENTITY = re.compile(rb"[0-9a-f]{16}")
_FIFO_NAME = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


class RunDirectoryError(Exception):
    """The run directory cannot be used. The text gives the reason and the remedy."""


class RunDirectory:
    """A run directory that only this process uses, until `release` or its end."""

    def __init__(self, path: Path, lock: int, guard: int | None) -> None:
        self.path = path
        self._lock = lock
        self._guard = guard
        self._kept = False
        self._identity: str | None = None

    @classmethod
    def take(cls, path: Path, lock: int | None = None, guard: int | None = None) -> Self:
        """Create and check the directory and lock it; raises `RunDirectoryError`.

        The kernel lets the lock go with the process that holds it, however that ends. `lock` and
        `guard` are the descriptors of those that this process holds already.
        """
        try:
            check(path)
            for name in SUBDIRECTORIES:
                (path / name).mkdir(mode=0o700, exist_ok=True)
            if lock is not None:
                return cls(path, lock, _take_name(path) if guard is None else guard)
            guard = _take_name(path)
            try:
                return cls(path, _take_lock(path), guard)
            except BaseException:
                if guard is not None:
                    os.close(guard)
                raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise RunDirectoryError(
                f"cannot use {path} as run directory: {error.strerror}{where}; {ANOTHER}"
            ) from error

    @property
    def socket(self) -> Path:
        return self.path / SOCKET_NAME

    @property
    def settings(self) -> Path:
        return self.path / SETTINGS_NAME

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def heartbeat(self) -> Path:
        return self.path / "heartbeat"

    def fifo(self, instance: int, generation: int) -> Path:
        return self.path / "fifo" / f"{instance}.{generation}"

    def fifos(self) -> list[tuple[Path, int, int]]:
        """Return every FIFO with its instance and generation.

        Returns [] if the directory cannot be read.
        """
        paths: list[Path] = []
        with suppress(OSError):
            paths.extend((self.path / "fifo").iterdir())
        named = ((path, _FIFO_NAME.fullmatch(path.name)) for path in paths)
        return [(path, int(name[1]), int(name[2])) for path, name in named if name]

    def hold_fifos(self) -> list[int]:
        """Open every FIFO for reading, as far as descriptors allow, and return the descriptors.

        A FIFO's buffered data is lost when its last open descriptor is closed.
        """
        held: list[int] = []
        with suppress(OSError):
            held.extend(
                os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                for fifo in (self.path / "fifo").iterdir()
            )
        return held

    def queue(self, instance: int) -> Path:
        return self.path / "queue" / f"{instance}.json"

    def session(self, instance: int) -> Path:
        """Return the path prefix of the file by which that instance requests a restart."""
        return self.path / "session" / str(instance)

    def identity(self, earlier: Callable[[], str | None] = lambda: None) -> str:
        """Return the random word that identifies this daemon's processes.

        If the file is missing or invalid, the result is `earlier()` or a new word. A file that
        cannot be written is ignored, because the state file also holds the word.
        """
        if self._identity is None:
            self._identity = self._read_identity()
        if self._identity is None:
            self._identity = _word((earlier() or "").encode()) or secrets.token_hex(8)
            self.write_identity()
        return self._identity

    def _read_identity(self) -> str | None:
        path = self.path / "identity"
        try:
            word = _word(read_regular(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("identity.unreadable", file=str(path), error=str(error))
            return None
        if word is None:
            log.warning("identity.unreadable", file=str(path), error="it holds no identity")
        return word

    def write_identity(self) -> None:
        """Rewrite the identity file. Ignores errors."""
        if self._identity is None:
            return
        path = self.path / "identity"
        draft = path.with_suffix(".new")
        with suppress(OSError):
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_text(self._identity, "ascii")
            draft.replace(path)

    def keep_lock(self) -> list[int]:
        """Return duplicate descriptors that keep the lock after `release`."""
        self._kept = True
        return [os.dup(each) for each in (self._lock, self._guard) if each is not None]

    def mend(self) -> list[str]:
        """Recreate removed parts of the run directory and return their names.

        Raises `RunDirectoryError` if that fails or another daemon has taken the lock.
        """
        try:
            mended = [] if self.path.exists() else [self.path.name]
            check(self.path)
            for name in SUBDIRECTORIES:
                if not (self.path / name).is_dir():
                    (self.path / name).mkdir(mode=0o700)
                    mended.append(name)
            if not _is_at(self._lock, self.path / LOCK_NAME):
                mended.append(LOCK_NAME)
                before, self._lock = self._lock, _take_lock(self.path)
                os.close(before)
            if self._identity is not None and not (self.path / "identity").exists():
                self.write_identity()
                mended.append("identity")
        except OSError as error:
            raise RunDirectoryError(
                f"cannot recreate files of {self.path}: {error.strerror}"
            ) from error
        return mended

    def release(self) -> None:
        """Release the lock and remove the socket, unless the lock was kept."""
        if not self._kept:
            with suppress(OSError):  # a stale socket does no harm
                self.socket.unlink()
        for each in (self._lock, self._guard):
            if each is not None:
                os.close(each)
        self._guard = None


ANOTHER = "COMFYSUP_RUN_DIR names another directory"
"""The remedy for a directory that cannot be used."""


def _word(content: bytes) -> str | None:
    """Return the identity in a file's content, or None if it is invalid."""
    found = _IDENTITY.fullmatch(content.strip())
    return found[0].decode() if found else None


def check(path: Path) -> None:
    """Create the directory or check that only this user can write to it.

    Raises `RunDirectoryError`.

    In a shared directory, `path` is the part that `own_part` has chosen.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot use {path} as run directory: {error.strerror}; {ANOTHER}"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise RunDirectoryError(
            f"cannot use {path} as run directory: it is not a directory; {ANOTHER}"
        )
    if found.st_uid != os.geteuid():
        raise RunDirectoryError(
            f"cannot use {path} as run directory: it belongs to user {found.st_uid}; {ANOTHER}"
        )
    if found.st_mode & SHARED:
        raise RunDirectoryError(
            f"cannot use {path} as run directory: others can write to it; run chmod 700 on it"
        )


def _take_lock(path: Path) -> int:
    """Return the descriptor that holds the lock; raises OSError and `RunDirectoryError`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = os.open(path / LOCK_NAME, flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        written = os.pread(lock, 32, 0).strip()
        os.close(lock)
        raise _taken(path, written.decode() if written.isdigit() else "unknown") from error
    with suppress(OSError):  # the pid is for people only; a full disk refuses it
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _take_name(path: Path) -> int | None:
    """Hold the directory's name as well, which protects it if the lock file is removed."""
    try:
        return hold_name(str(path.resolve()))
    except NameTakenError as error:
        raise _taken(path, str(error.pid)) from error


def _taken(path: Path, holder: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"cannot use {path}: a comfysup with pid {holder} is running there; {ANOTHER}"
    )


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one at that path."""
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
