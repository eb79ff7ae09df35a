"""The views of reloads and rolling restarts."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfysup.model.instances_file import ConfigError


@dataclass(frozen=True)
class NamedView:
    """The id and the name of an instance."""

    id: int
    """id of the instance"""
    name: str
    """name of the instance"""


@dataclass(frozen=True)
class FailedReloadView:
    """An instance that could not be started or restarted."""

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
    """The action of a reload for one instance, and its reason."""

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
    """The result of a reload; an instance is in at most one of the lists beside `plan`.

    With `dry_run`, the lists state what a reload would do.
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
    """The result of restarting the instances of an environment one at a time."""

    restarted: Sequence[NamedView]
    """the instances that are ready again"""
    failed: Sequence[FailedReloadView]
    """none or one"""
    left_alone: Sequence[NamedView]
    """the instances after the failed one"""
