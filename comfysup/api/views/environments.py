"""The views of environments."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfysup.model.environment import LeftBehind


@dataclass(frozen=True)
class EnvironmentView:
    """An environment."""

    name: str
    """name of the environment"""
    path: str
    """absolute path"""
    usable: bool
    """whether an instance can be started from it"""
    problems: Sequence[str]
    """reasons why it is not usable"""
    notes: Sequence[str]
    """problems that do not make it unusable"""
    comfyui_version: str | None
    """null if no file contains it"""
    python_version: str | None
    """null if no file contains it"""
    torch_version: str | None
    """null if no file contains it"""
    custom_nodes: Sequence[str]
    """directories and files of its custom nodes"""
    models_link: str | None
    """target of the symbolic link `models`; null if it is not a link"""


@dataclass(frozen=True)
class EnvironmentsView:
    """All environments of the workspace, by name."""

    environments: Sequence[EnvironmentView]
    """by name"""


@dataclass(frozen=True)
class LinkView:
    """The result of sharing the models of an environment."""

    environment: str
    """name of the environment"""
    linked: bool
    """false while `left` is not empty"""
    done: Sequence[str]
    """the actions performed, in order"""
    moved: Sequence[str]
    """files moved to the shared directory"""
    aside: Sequence[str]
    """files whose name already existed in the shared directory"""
    left: Sequence[LeftBehind]
    """files that were not moved"""
