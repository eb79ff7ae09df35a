"""An environment as read from its files, and the report of linking its models."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PYTHON: Final = Path("venv", "bin", "python")
"""The interpreter of an environment, below its directory."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment as read from its files at one moment, as far as a launch needs it.

    `problems` holds sentences that say why the environment cannot be used; each names the path.
    `flags` are the options that its ComfyUI declares. `harmless` are those of them that take no
    free text. Both are empty if they could not be determined, as `notes` say.
    """

    name: str
    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    flags: frozenset[str]
    harmless: frozenset[str] = field(default=frozenset(), kw_only=True)

    @property
    def usable(self) -> bool:
        """Whether an instance can be started from this environment."""
        return not self.problems

    @property
    def python(self) -> Path:
        """The interpreter: never `activate` or `bin/pip`, which break when a venv is copied."""
        return self.path / PYTHON


@dataclass(frozen=True, slots=True)
class Survey(Environment):
    """All data in an environment's files; `notes` name missing parts that are not required.

    A version is None if no file states it. `models_link` is the target of the link `models`, or
    None if `models` is no link.
    """

    comfyui_version: str | None
    python_version: str | None
    torch_version: str | None
    custom_nodes: tuple[str, ...]
    models_link: str | None


@dataclass(frozen=True)
class LeftBehind:
    """A path that stays in place, and the reason. The API returns it unchanged."""

    path: str
    """path of the file"""
    reason: str
    """why the file was not moved"""


@dataclass(slots=True)
class LinkReport:
    """The actions in order: sentences in `done`, paths in `moved` and `aside`."""

    linked: bool = False
    done: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    left: list[LeftBehind] = field(default_factory=list)

    def leave(self, path: Path, reason: str) -> None:
        self.left.append(LeftBehind(str(path), reason))
