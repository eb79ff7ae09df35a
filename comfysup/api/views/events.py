"""The views of events."""

from collections.abc import Sequence
from dataclasses import dataclass

from comfysup.api.views.reload import ReloadView
from comfysup.api.views.resources import InstanceView


@dataclass(frozen=True)
class InstanceEventView:
    """Something that happened to an instance, which is shown as it was right after it."""

    at: str
    instance: InstanceView
    reason: str | None
    message: str | None


@dataclass(frozen=True)
class PromptEventView:
    """What became of a prompt whose process has ended; a reason where it was given up.

    If only the number of prompts is known, `count` is that number and `prompt_id` is null.
    """

    at: str
    instance: InstanceView
    prompt_id: str | None
    reason: str | None
    message: str | None
    count: int


@dataclass(frozen=True)
class DaemonEventView:
    """The daemon began, is about to end, or has other `troubles` than before."""

    at: str
    version: str
    pid: int
    troubles: Sequence[str] = ()


@dataclass(frozen=True)
class MissedView:
    """The number of events that a reader missed; null if unknown."""

    missed: int | None


@dataclass(frozen=True)
class ReloadEventView:
    """The file of instances was taken on."""

    at: str
    reload: ReloadView
