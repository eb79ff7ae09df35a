"""What came of a reload."""

from dataclasses import dataclass

from comfysup.settings import Mistake
from comfysup.supervision.spec import InstanceSpec


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
class Outcome:
    """Who was started, stopped and so on; nobody at all unless the file was `legible`."""

    legible: bool
    started: tuple[InstanceSpec, ...] = ()
    stopped: tuple[InstanceSpec, ...] = ()
    restarted: tuple[InstanceSpec, ...] = ()
    updated: tuple[InstanceSpec, ...] = ()
    left_alone: tuple[InstanceSpec, ...] = ()
    failed: tuple[Failure, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    warnings: tuple[str, ...] = ()
