"""What a virtual environment is, told by its files alone: nothing of it is executed or imported."""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from comfysup.model.environment import PYTHON

MAX_BYTES = 4 << 20


def read_small(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return what a file holds, without waiting for anybody; raises OSError.

    Also for what is no ordinary file, or larger than `most` bytes.
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
    """Say why `venv/bin/python` of an environment cannot be executed; None when it can."""
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
    """Return a hint where a virtual environment lies under another usual name."""
    for name in (".venv", "env", ".env", "conda"):
        with suppress(OSError):
            if os.access(environment / name / "bin" / "python", os.X_OK):
                return f"; there is {environment / name}: `ln -s {name} {environment / 'venv'}`"
    return ""


def _other_version(environment: Path) -> str | None:
    """Say that the interpreter does not look for the packages where they are.

    Packages of Python 3.11 are in `lib/python3.11`. Which version an interpreter is, is told by the
    name of the file that its links lead to; nothing is said where that name does not tell.
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
    """Return the version of Python by conda's record of it; None where conda made no `venv`."""
    for found in (environment / "venv" / "conda-meta").glob("python-3.*.json"):
        return found.name.split("-")[1]
    return None


def read_config(environment: Path) -> dict[str, str]:
    """Return what `venv/pyvenv.cfg` says, its keys in lower case; nothing where it cannot be read.

    The format is one `key = value` a line (PEP 405).
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
    """Return the version of the interpreter that a venv runs, as `3.12`; None where nothing tells.

    Told by the name of the file that `venv/bin/python` leads to. After an upgrade of the system
    that is another one than the venv was made for, which `pyvenv.cfg` still names.
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
    """Return the version in the name of torch's `.dist-info`, as `2.8.0+cu128`; None without torch.

    A venv made with the system's packages may have torch from there.
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
