"""The environments of a workspace, `<workspace>/ComfyUI-<name>`, and their properties.

All functions block on the disk, for less than a millisecond each if the disk is local.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comfysup.comfyui.environment import venv
from comfysup.comfyui.environment.flags import CLI_ARGS, Flags, parse_options
from comfysup.comfyui.environment.venv import read_small
from comfysup.config.field_values import ENVIRONMENT_PATTERN
from comfysup.model.environment import Environment, Survey
from comfysup.supervision.protocols import RefusedError

PREFIX = "ComfyUI-"
BARE = "ComfyUI"
"""The usual directory name of a single ComfyUI."""
NO_DIRECTORY = "is not a directory"
NAMED = 20
"""Environments that an error names."""
LONGEST_VERSION = 64
_NAME = re.compile(ENVIRONMENT_PATTERN)
_VERSION_PY = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_VERSION_TOML = re.compile(r"""^version\s*=\s*["']([^"']+)["']""", re.MULTILINE)


def unresponsive(name: str, path: Path, sentence: str) -> Survey:
    """Return the survey of an environment whose files do not answer."""
    nothing = frozenset[str]()
    return Survey(name, path, (sentence,), (), nothing, None, None, None, (), None)


class Environments:
    """Finds the environments of one workspace; reads the disk at each call."""

    def __init__(self, workspace: Path) -> None:
        """Take the directory that holds `ComfyUI-<name>`; it need not exist yet."""
        self.workspace = workspace.absolute()
        self._flags: dict[Path, tuple[tuple[int, int], Flags]] = {}
        self._closed: dict[str, str] = {}

    @contextmanager
    def closed(self, name: str, reason: str) -> Iterator[None]:
        """Refuse starts from an environment in the context."""
        self._closed[name] = reason
        try:
            yield
        finally:
            self._closed.pop(name, None)

    def find(self, name: str) -> Environment:
        """Return that environment, usable or not.

        Raises `RefusedError` `unknown_environment` if it does not exist.
        """
        if _NAME.fullmatch(name) is None:
            raise RefusedError(
                "unknown_environment", f"{name[:64]!r} is not a valid environment name"
            )
        path = self.path(name)
        if reason := _no_directory(path):
            raise RefusedError("unknown_environment", self._absence(path, name, reason))
        return self._look(name, path)

    def survey(self, name: str) -> Survey:
        """Return the survey of that environment. Raises `RefusedError` as `find` does."""
        return self._survey(self.find(name))

    def names(self) -> list[str]:
        """Return the names of all environments; [] without a workspace.

        Environments are not accessed, so one that does not answer cannot hide the others. Raises
        OSError if the workspace cannot be read.
        """
        try:
            entries = sorted(self.workspace.iterdir())
        except FileNotFoundError:
            return []
        return [each.name.removeprefix(PREFIX) for each in entries if each.name.startswith(PREFIX)]

    def survey_any(self, name: str) -> Survey | None:
        """Return the survey of one of the `names`, or None if it is not a directory.

        A dangling link or a dead mount counts as an unusable environment.
        """
        path = self.path(name)
        if _no_directory(path) == NO_DIRECTORY:
            return None
        return self._survey(self._look(name, path))

    def path(self, name: str) -> Path:
        """Return the path that the environment has or would have. Does not block."""
        return self.workspace / f"{PREFIX}{name}"

    def _absence(self, path: Path, name: str, reason: str) -> str:
        sentence = f"there is no environment {name!r}: {path} {reason}"
        if known := self._known(name):
            return f"{sentence} (there are: {known})"
        bare = self.workspace / BARE
        if os.access(bare / "main.py", os.F_OK):
            return f"{sentence} ({bare} has no name: `ln -s {BARE} {path}` gives it this one)"
        return sentence

    def _known(self, absent: str) -> str:
        """Return a text with the first `NAMED` other environments, empty if they are unreadable.

        Environments are not accessed, so one that does not answer cannot delay an error.
        """
        try:
            names = [name for name in self.names() if name != absent]
        except OSError:
            return ""
        more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
        return ", ".join((*names[:NAMED], *more))

    def _look(self, name: str, path: Path) -> Environment:
        if reason := _no_directory(path):
            return Environment(name, path, (f"{path} {reason}",), (), frozenset())
        flags, notes = self._known_flags(path / CLI_ARGS)
        problems = (*_problems(name, path), *self._closure(name))
        return Environment(name, path, problems, tuple(notes), flags.known, harmless=flags.harmless)

    def _survey(self, found: Environment) -> Survey:
        path = found.path
        if _no_directory(path):
            return Survey(
                found.name, path, found.problems, (), frozenset(), None, None, None, (), None
            )
        config = venv.read_config(path)
        nodes, node_notes = _custom_nodes(path / "custom_nodes")
        link, link_notes = _models_link(path / "models")
        torch = venv.torch_version(path, config)
        torch_notes = [] if torch else [f"no torch in {path / 'venv'}"]
        return Survey(
            name=found.name,
            path=path,
            problems=found.problems,
            notes=(*found.notes, *_write_notes(path), *node_notes, *link_notes, *torch_notes),
            flags=found.flags,
            harmless=found.harmless,
            comfyui_version=_comfyui_version(path),
            python_version=venv.python_version(config) or venv.conda_version(path),
            torch_version=torch,
            custom_nodes=nodes,
            models_link=link,
        )

    def _closure(self, name: str) -> tuple[str, ...]:
        reason = self._closed.get(name)
        return (f"cannot use {name!r} now: {reason}",) if reason else ()

    def _known_flags(self, path: Path) -> tuple[Flags, list[str]]:
        """Return the flags, parsed again only when the file has another size or time."""
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            cached = self._flags.get(path)
            if cached is None or cached[0] != stamp:
                cached = (stamp, parse_options(read_small(path).decode()))
                self._flags[path] = cached
        except OSError as error:
            return Flags(), [f"cannot read {path}: {error.strerror}"]
        except (SyntaxError, ValueError) as error:
            return Flags(), [f"cannot parse {path}: {error}"]
        except (RecursionError, MemoryError):  # the limits of Python's parser
            return Flags(), [f"cannot parse {path}: it is nested too deeply"]
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
            return found[1][:LONGEST_VERSION]
    return None


def _write_notes(path: Path) -> list[str]:
    """Return a note if ComfyUI cannot write to its default output directories."""
    if os.access(path, os.W_OK):
        return []
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
    return [f"cannot write to {path}: {reason}; ComfyUI keeps outputs, inputs and its users there"]


def _custom_nodes(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Return what ComfyUI's `init_external_custom_nodes` would load: directories and .py files."""
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
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None, [f"{path} is not a link: its models are not shared"]
        return None, [f"cannot read {path}: {error.strerror}"]
    if _no_directory(path):
        return target, [f"{path} points to {target}, which is not a directory"]
    return target, []


def _no_directory(path: Path) -> str | None:
    """Return the problem of a directory, worded to follow its path, or None."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return None
    except (FileNotFoundError, NotADirectoryError):
        with suppress(OSError):
            return f"points to {path.readlink()}, which does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return NO_DIRECTORY
