"""What a virtual environment is, told by its files alone: nothing of it is executed or imported."""

import os
from pathlib import Path

from comfysup.comfyui.small_file import read_small

PYTHON = Path("venv", "bin", "python")


def python_problem(environment: Path) -> str | None:
    """Say why `venv/bin/python` of an environment cannot be executed; None when it can."""
    python = environment / PYTHON
    try:
        python.stat()
    except OSError as error:
        if python.is_symlink():
            return f"{python} points to {python.readlink()}, which cannot be used: {error.strerror}"
        return f"cannot use {python}: {error.strerror}"
    if not python.is_file():
        return f"{python} is not a file"
    if not os.access(python, os.X_OK):
        return f"{python} is not executable"
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
