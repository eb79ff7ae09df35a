"""The views of reloads and rolling restarts."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfysup.model.instances_file import ConfigError


@dataclass(frozen=True)
class NamedView:
    """An instance, by what people call it."""

    id: int
    name: str


@dataclass(frozen=True)
class FailedReloadView:
    """An instance that could not be made what it should be."""

    id: int
    name: str
    error: str
    code: str


@dataclass(frozen=True)
class PlannedView:
    """What a reload does about an instance, and why.

    `action` is `start`, `restart`, `update`, `stop` or `leave_alone`.
    """

    id: int
    name: str
    action: str
    reason: str


@dataclass(frozen=True)
class ReloadView:
    """What a reload did; an instance stands in one of the lists, or in none of them.

    In a `dry_run` nothing was changed, and the lists state what would be. `plan` has every instance
    with the reason, by id.
    """

    dry_run: bool
    plan: Sequence[PlannedView]
    started: Sequence[NamedView]
    stopped: Sequence[NamedView]
    restarted: Sequence[NamedView]
    updated: Sequence[NamedView]
    left_alone: Sequence[NamedView]
    failed: Sequence[FailedReloadView]
    mistakes: Sequence[ConfigError]
    warnings: Sequence[str]


@dataclass(frozen=True)
class RollingRestartView:
    """What became of the instances of an environment, one after the other.

    Where one is `failed`, those after it were `left_alone`.
    """

    restarted: Sequence[NamedView]
    failed: Sequence[FailedReloadView]
    left_alone: Sequence[NamedView]
