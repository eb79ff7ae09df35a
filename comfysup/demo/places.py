"""The directories and the database of the stand-in, chosen and used as by ComfyUI."""

import argparse
import fcntl
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from comfysup.demo.output import log


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths. `temp` is the directory `temp` within `--temp-directory`."""

    root: Path
    temp: Path
    output: Path
    database: Path | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Places":
        """Derive the paths from the arguments; the root is the directory of the running program."""
        root = Path(sys.argv[0]).resolve().parent
        base = Path(arguments.base_directory or root).absolute()
        above_temp = Path(arguments.temp_directory or base).absolute()
        return cls(
            root=root,
            temp=above_temp / "temp",
            output=Path(arguments.output_directory or base / "output").absolute(),
            database=_database(getattr(arguments, "database_url", None), root),
        )

    def clean_temp(self) -> None:
        """Delete the temp directory with its content."""
        shutil.rmtree(self.temp, ignore_errors=True)


def lock_database(path: Path) -> None:
    """Lock the lock file of the database until this process exits.

    Exit with 1 if another process holds the lock. Continue without a lock if the file cannot be
    created.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        log(f"Failed to initialize database: {error}")
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log(
            f"Could not acquire lock on database '{path}'. "
            "Another ComfyUI process may already be using it. "
            "Use --database-url to specify a separate database file."
        )
        raise SystemExit(1) from None
    path.touch()


def _database(url: str | None, root: Path) -> Path | None:
    if url is None:
        return root / "user" / "comfyui.db"
    path = url.removeprefix("sqlite:///")
    return None if path in {url, ":memory:"} else Path(path).absolute()


VERSION = "0.3.64"
