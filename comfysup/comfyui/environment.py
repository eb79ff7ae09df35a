"""The environments of a workspace: `<workspace>/ComfyUI-<name>`, and what can be said of each.

Everything here blocks on the disk, for less than a millisecond each where the disk is local.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfysup.comfyui import venv
from comfysup.comfyui.flags import CLI_ARGS, parse_flags
from comfysup.comfyui.small_file import read_small
from comfysup.fields.values import ENVIRONMENT_PATTERN
from comfysup.supervision.protocols import RefusedError

PREFIX = "ComfyUI-"
_NAME = re.compile(ENVIRONMENT_PATTERN)
_VERSION_PY = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_VERSION_TOML = re.compile(r"""^version\s*=\s*["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment as its files show it at one moment, as far as a launch needs it.

    `problems` are sentences that say why it cannot be started; each names the path. `flags` are the
    options that its ComfyUI knows: none where that could not be found out, as `notes` say.
    """

    name: str
    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    flags: frozenset[str]

    @property
    def usable(self) -> bool:
        """Whether an instance can be started from it."""
        return not self.problems

    @property
    def python(self) -> Path:
        """Its interpreter: never `activate` or `bin/pip`, which break when a venv is copied."""
        return self.path / venv.PYTHON


@dataclass(frozen=True, slots=True)
class Survey(Environment):
    """All that the files of an environment show; `notes` say what it lacks without being unusable.

    A version is None where no file tells it. `models_link` is what the link `models` points to,
    None where it is none.
    """

    comfyui_version: str | None
    python_version: str | None
    torch_version: str | None
    custom_nodes: tuple[str, ...]
    models_link: str | None


class Environments:
    """Finds the environments of one workspace; looks anew at each call."""

    def __init__(self, workspace: Path) -> None:
        """Take the directory that holds `ComfyUI-<name>`; it need not exist yet."""
        self._workspace = workspace.absolute()
        self._flags: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}
        self._closed: dict[str, str] = {}

    @contextmanager
    def closed(self, name: str, reason: str) -> Iterator[None]:
        """Let nothing be started from an environment meanwhile."""
        self._closed[name] = reason
        try:
            yield
        finally:
            self._closed.pop(name, None)

    def find(self, name: str) -> Environment:
        """Return that environment, usable or not.

        Raises `RefusedError` `unknown_environment` where it does not exist.
        """
        if _NAME.fullmatch(name) is None:
            raise RefusedError("unknown_environment", f"{name[:64]!r} is no name of an environment")
        path = self._path(name)
        if not _is_directory(path):
            raise RefusedError("unknown_environment", self._absence(path, name))
        return self._look(name, path)

    def survey(self, name: str) -> Survey:
        """Return all that can be said of that environment; raises `RefusedError` as `find` does."""
        return self._survey(self.find(name))

    def all(self) -> tuple[Survey, ...]:
        """Return every environment by name; none where there is no workspace.

        Raises OSError when the workspace cannot be read.
        """
        names = [path.name.removeprefix(PREFIX) for path in self._paths()]
        return tuple(self._survey(self._look(name, self._path(name))) for name in names)

    def _path(self, name: str) -> Path:
        return self._workspace / f"{PREFIX}{name}"

    def _paths(self) -> list[Path]:
        try:
            entries = sorted(self._workspace.iterdir())
        except FileNotFoundError:
            return []
        return [path for path in entries if path.name.startswith(PREFIX) and _is_directory(path)]

    def _absence(self, path: Path, name: str) -> str:
        sentence = f"there is no environment {name!r}: {path} is not a directory"
        known = ", ".join(other.name.removeprefix(PREFIX) for other in self._paths())
        return f"{sentence} (there are: {known})" if known else sentence

    def _look(self, name: str, path: Path) -> Environment:
        flags, notes = self._known_flags(path / CLI_ARGS)
        problems = (*_problems(name, path), *self._closure(name))
        return Environment(name, path, problems, tuple(notes), flags)

    def _survey(self, found: Environment) -> Survey:
        path = found.path
        config = venv.read_config(path)
        nodes, node_notes = _custom_nodes(path / "custom_nodes")
        link, link_notes = _models_link(path / "models")
        torch = venv.torch_version(path, config)
        torch_notes = [] if torch else [f"no torch in {path / 'venv'}"]
        return Survey(
            name=found.name,
            path=path,
            problems=found.problems,
            notes=(*found.notes, *node_notes, *link_notes, *torch_notes),
            flags=found.flags,
            comfyui_version=_comfyui_version(path),
            python_version=venv.python_version(config),
            torch_version=torch,
            custom_nodes=nodes,
            models_link=link,
        )

    def _closure(self, name: str) -> tuple[str, ...]:
        reason = self._closed.get(name)
        return (f"cannot use {name!r} now: {reason}",) if reason else ()

    def _known_flags(self, path: Path) -> tuple[frozenset[str], list[str]]:
        """Return the flags, parsed again only when the file has another size or time."""
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            cached = self._flags.get(path)
            if cached is None or cached[0] != stamp:
                cached = (stamp, parse_flags(read_small(path).decode()))
                self._flags[path] = cached
        except OSError as error:
            return frozenset(), [f"cannot read {path}: {error.strerror}"]
        except (SyntaxError, ValueError) as error:
            return frozenset(), [f"cannot parse {path}: {error}"]
        return cached[1], []


def _problems(name: str, path: Path) -> tuple[str, ...]:
    problems = []
    if _NAME.fullmatch(name) is None:
        problems.append(f"{path}: {name!r} cannot be used as the name of an environment")
    main = path / "main.py"
    try:
        read_small(main)
    except OSError as error:
        problems.append(f"cannot use {main}: {error.strerror}")
    if python := venv.python_problem(path):
        problems.append(python)
    return tuple(problems)


def _comfyui_version(path: Path) -> str | None:
    """Read the version from `comfyui_version.py`, or `pyproject.toml` before there was one."""
    for file, pattern in (
        ("comfyui_version.py", _VERSION_PY),
        ("pyproject.toml", _VERSION_TOML),
    ):
        try:
            found = pattern.search(read_small(path / file).decode(errors="replace"))
        except OSError:
            continue
        if found:
            return found[1]
    return None


def _custom_nodes(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Name what ComfyUI's `init_external_custom_nodes` would load: directories and .py files."""
    try:
        with os.scandir(path) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith((".", "__pycache__"))
                and not entry.name.endswith(".disabled")
                and (entry.is_dir() or entry.name.endswith(".py"))
            ]
    except OSError as error:
        return (), [f"cannot read {path}: {error.strerror}"]
    return tuple(sorted(names, key=str.lower)), []


def _models_link(path: Path) -> tuple[str | None, list[str]]:
    try:
        target = str(path.readlink())
    except FileNotFoundError:
        return None, [f"{path} does not exist"]
    except OSError:
        return None, [f"{path} is not a link: its models are not shared"]
    if not _is_directory(path):
        return target, [f"{path} points to {target}, which is not a directory"]
    return target, []


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
