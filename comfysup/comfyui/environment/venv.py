"""Properties of a virtual environment by its files; nothing of it is executed or imported."""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from comfysup.model.environment import PYTHON

MAX_BYTES = 4 << 20


def read_small(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return the content of a file without blocking. Raises OSError.

    Raises OSError also for a file that is not regular or has more than `most` bytes.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
        return os.read(file, most)
    finally:
        os.close(file)


_VERSIONED = re.compile(r"python(3\.\d+)")


def python_problem(environment: Path) -> str | None:
    """Return why an environment's `venv/bin/python` cannot be executed, or None."""
    python = environment / PYTHON
    try:
        python.stat()
    except OSError as error:
        with suppress(OSError):
            return f"{python} points to {python.readlink()}, which cannot be used: {error.strerror}"
        return f"cannot use {python}: {error.strerror}{_elsewhere(environment)}"
    if not python.is_file():
        return f"{python} is not a file"
    if not os.access(python, os.X_OK):
        return f"{python} is not executable"
    return _other_version(environment)


def _elsewhere(environment: Path) -> str:
    """Return a hint if a virtual environment exists under another usual name."""
    for name in (".venv", "env", ".env", "conda"):
        with suppress(OSError):
            if os.access(environment / name / "bin" / "python", os.X_OK):
                return f"; there is {environment / name}: `ln -s {name} {environment / 'venv'}`"
    return ""


def _other_version(environment: Path) -> str | None:
    """Return that the interpreter does not search the packages' directory, or None.

    Packages of Python 3.11 are in `lib/python3.11`. The interpreter's version is taken from the
    file name that its links lead to; if that has none, the result is None.
    """
    made_for = package_versions(environment)
    try:
        real = (environment / PYTHON).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    runs = _VERSIONED.fullmatch(real.name)
    if not made_for or runs is None or runs[1] in made_for:
        return None
    if read_config(environment).get("include-system-site-packages", "").lower() == "true":
        return None
    return (
        f"{environment / 'venv'} was made for another Python: its packages are for "
        f"{', '.join(made_for)}, {environment / PYTHON} is {real}"
    )


def conda_version(environment: Path) -> str | None:
    """Return the Python version in conda's records, or None if conda did not make `venv`."""
    for found in (environment / "venv" / "conda-meta").glob("python-3.*.json"):
        return found.name.split("-")[1]
    return None


def read_config(environment: Path) -> dict[str, str]:
    """Return the entries of `venv/pyvenv.cfg` with lower-case keys; {} if it is unreadable.

    The format is one `key = value` per line (PEP 405).
    """
    try:
        text = read_small(environment / "venv" / "pyvenv.cfg").decode(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, sign, value in pairs if sign}


def python_version(config: dict[str, str]) -> str | None:
    """Return `3.11.7` of `version = 3.11.7` (venv) or `version_info = 3.11.7.final.0` (others)."""
    version = config.get("version") or config.get("version_info")
    return ".".join(version.split(".")[:3]) if version else None


def interpreter_version(environment: Path) -> str | None:
    """Return the version of a venv's interpreter, as `3.12`, or None if it is unknown.

    The version is in the file name that `venv/bin/python` leads to. After a system upgrade it can
    differ from the one in `pyvenv.cfg`, for which the venv was made.
    """
    name = (environment / PYTHON).resolve().name
    if found := _VERSIONED.fullmatch(name):
        return found[1]
    version = python_version(read_config(environment))
    return ".".join(version.split(".")[:2]) if version else None


def package_versions(environment: Path) -> tuple[str, ...]:
    """Return the versions of Python, as `3.11`, that a venv holds packages for."""
    directories = sorted((environment / "venv" / "lib").glob("python3.*/site-packages"))
    return tuple(each.parent.name.removeprefix("python") for each in directories)


def torch_version(environment: Path, config: dict[str, str]) -> str | None:
    """Return the version of torch by its `.dist-info`, as `2.8.0+cu128`; None without torch.

    A venv with access to the system's packages may use their torch.
    """
    for directory in _package_directories(environment, config):
        for found in directory.glob("torch-*.dist-info"):
            return found.name.removeprefix("torch-").removesuffix(".dist-info")
    return None


def _package_directories(environment: Path, config: dict[str, str]) -> list[Path]:
    own = sorted((environment / "venv" / "lib").glob("python3*/site-packages"))
    if config.get("include-system-site-packages", "").lower() != "true":
        return own
    home = Path(config.get("home", "/usr/bin")).parent
    version = ".".join((python_version(config) or "3").split(".")[:2])
    return [
        *own,
        home / "lib" / f"python{version}" / "site-packages",
        Path("/usr/local/lib") / f"python{version}" / "dist-packages",
        Path("/usr/lib/python3/dist-packages"),
    ]
