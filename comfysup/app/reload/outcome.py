"""What came of a reload."""

from dataclasses import dataclass

from comfysup.app.reload.reasons import Planned
from comfysup.config.config_errors import ConfigError
from comfysup.model.spec import InstanceSpec


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that could not be made what the file says.

    `refused` when it was not even tried, so that the next reload tries again.
    """

    spec: InstanceSpec
    code: str
    message: str
    refused: bool = True


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """Who was started, stopped and so on; nobody at all unless the file was `legible`.

    `unusable` are labels of enabled entries that are mistaken.
    `plan` has every instance with the reason for what is done about it. In a `dry_run` nothing has
    been done: the lists tell what would be.
    """

    legible: bool
    dry_run: bool = False
    plan: tuple[Planned, ...] = ()
    started: tuple[InstanceSpec, ...] = ()
    stopped: tuple[InstanceSpec, ...] = ()
    restarted: tuple[InstanceSpec, ...] = ()
    updated: tuple[InstanceSpec, ...] = ()
    left_alone: tuple[InstanceSpec, ...] = ()
    failed: tuple[Failure, ...] = ()
    mistakes: tuple[ConfigError, ...] = ()
    unusable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
