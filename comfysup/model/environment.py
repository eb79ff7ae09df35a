"""An environment as its files show it, and what a link of its models did."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PYTHON: Final = Path("venv", "bin", "python")
"""The interpreter of an environment, below its directory."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment as its files show it at one moment, as far as a launch needs it.

    `problems` are sentences that say why it cannot be started; each names the path. `flags` are the
    options that its ComfyUI knows, `harmless` those of them that take no free text: none where that
    could not be found out, as `notes` say.
    """

    name: str
    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    flags: frozenset[str]
    harmless: frozenset[str] = field(default=frozenset(), kw_only=True)

    @property
    def usable(self) -> bool:
        """Whether an instance can be started from it."""
        return not self.problems

    @property
    def python(self) -> Path:
        """Its interpreter: never `activate` or `bin/pip`, which break when a venv is copied."""
        return self.path / PYTHON


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


@dataclass(frozen=True)
class LeftBehind:
    """Something that stays where it is, and why. The API shows it as it stands."""

    path: str
    reason: str


@dataclass(slots=True)
class LinkReport:
    """What was done, in order: sentences in `done`, paths in `moved` and `aside`."""

    linked: bool = False
    done: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    left: list[LeftBehind] = field(default_factory=list)

    def leave(self, path: Path, reason: str) -> None:
        self.left.append(LeftBehind(str(path), reason))
