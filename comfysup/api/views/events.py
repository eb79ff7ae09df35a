"""The views of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from comfysup.api.views.instances import InstanceView
from comfysup.api.views.reload import ReloadView
from comfysup.api.views.time import Time
from comfysup.supervision.lifecycle_events import LifecycleEvent


@dataclass(frozen=True)
class InstanceEventView:
    """A change of an instance."""

    at: Time
    """time of the event"""
    instance: InstanceView
    """the instance right after the event"""
    reason: str | None
    """an exit reason, or why a prompt was given up; null if there is none"""
    message: str | None
    """a sentence that explains `reason`"""


@dataclass(frozen=True)
class PromptEventView:
    """What became of a prompt whose process has exited."""

    at: Time
    """time of the event"""
    instance: InstanceView
    """the instance right after the event"""
    prompt_id: str | None
    """null if only the number of prompts is known, and for prompts beyond the first 500 that are
    given up at once"""
    reason: str | None
    """an exit reason, or why a prompt was given up; null if there is none"""
    message: str | None
    """a sentence that explains `reason`"""
    count: int
    """number of prompts, 1 with a `prompt_id`"""


@dataclass(frozen=True)
class DaemonEventView:
    """The daemon has started, is shutting down, or has other `troubles` than before."""

    at: Time
    """time of the event"""
    version: str
    """version of the daemon"""
    pid: int
    """pid of the daemon"""
    troubles: Sequence[str] = ()
    """what the daemon currently cannot do"""


@dataclass(frozen=True)
class MissedView:
    """Events that a reader missed."""

    missed: int | None
    """number of events that this reader missed; null if unknown"""


@dataclass(frozen=True)
class ReloadEventView:
    """instances.json was applied."""

    at: Time
    """time of the event"""
    reload: ReloadView
    """the response of a reload"""


EVENT_VIEWS: Final[Mapping[str, type]] = {
    **dict.fromkeys(LifecycleEvent, InstanceEventView),
    "prompt.rescued": PromptEventView,
    "prompt.given_up": PromptEventView,
    "config.reloaded": ReloadEventView,
    "daemon.started": DaemonEventView,
    "daemon.stopping": DaemonEventView,
    "daemon.impaired": DaemonEventView,
    "daemon.recovered": DaemonEventView,
    "events.missed": MissedView,
}
"""The data of each event, by its name."""
