"""The views of reloads and rolling restarts."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfysup.model.instances_file import ConfigError


@dataclass(frozen=True)
class NamedView:
    """An instance, by what people call it."""

    id: int
    """id of the instance"""
    name: str
    """name of the instance"""


@dataclass(frozen=True)
class FailedReloadView:
    """An instance that could not be made what it should be."""

    id: int
    """id of the instance"""
    name: str
    """name of the instance"""
    error: str
    """error message"""
    code: str
    """an error code, or `timeout`"""


@dataclass(frozen=True)
class PlannedView:
    """What a reload does about an instance, and why.

    `action` is `start`, `restart`, `update`, `stop` or `leave_alone`.
    """

    id: int
    """id of the instance"""
    name: str
    """name of the instance"""
    action: str
    """`start`, `restart`, `update`, `stop`, `leave_alone`"""
    reason: str
    """a phrase to display"""


@dataclass(frozen=True)
class ReloadView:
    """What a reload did; an instance stands in one of the lists, or in none of them.

    In a `dry_run` nothing was changed, and the lists state what would be. `plan` has every instance
    with the reason, by id.
    """

    dry_run: bool
    """`true` if nothing was changed"""
    plan: Sequence[PlannedView]
    """all instances, by id"""
    started: Sequence[NamedView]
    """the instances that were started"""
    stopped: Sequence[NamedView]
    """stopped and removed"""
    restarted: Sequence[NamedView]
    """the instances that were restarted"""
    updated: Sequence[NamedView]
    """changed without a restart"""
    left_alone: Sequence[NamedView]
    """the instances that were not changed"""
    failed: Sequence[FailedReloadView]
    """the instances that could not be started or restarted"""
    mistakes: Sequence[ConfigError]
    """the errors of instances.json"""
    warnings: Sequence[str]
    """the warnings about instances.json"""


@dataclass(frozen=True)
class RollingRestartView:
    """What became of the instances of an environment, one after the other.

    Where one is `failed`, those after it were `left_alone`.
    """

    restarted: Sequence[NamedView]
    """the instances that are ready again"""
    failed: Sequence[FailedReloadView]
    """none or one"""
    left_alone: Sequence[NamedView]
    """the instances after the failed one"""
