"""The views of the daemon and its probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from comfysup.api.views.time import Time


@dataclass(frozen=True)
class RestartingView:
    """The response to a restart in place."""

    status: str
    """always `restarting`"""
    message: str
    """a message to display"""


@dataclass(frozen=True)
class DaemonView:
    """The daemon itself."""

    version: str
    """version of comfysup"""
    pid: int
    """pid of the daemon"""
    started_at: Time
    """time at which the daemon started, or was last restarted in place"""
    uptime_seconds: float
    """seconds since `started_at`"""
    troubles: Sequence[str]
    """operations that the daemon cannot perform at present"""
    autolaunch_pending: Sequence[int]
    """ids in instances.json that autolaunch has not started yet"""
    process_handles: str
    """`polling` if the kernel refuses pidfds: an exit is detected up to 0.05 s later"""
    settings: Mapping[str, object]
    """the settings in use; for tokens, only whether they are set"""


@dataclass(frozen=True)
class LiveView:
    """The daemon works."""

    status: Literal["live"]
    """always `live`"""


@dataclass(frozen=True)
class ReadyView:
    """Whether all wanted instances are ready.

    An enabled entry of instances.json that could not be started counts as wanted.
    """

    status: Literal["ready", "not_ready"]
    """`ready` if all wanted instances are ready"""
    waiting_for: Sequence[str]
    """the wanted instances that are not ready, each with its state"""
    troubles: Sequence[str]
    """operations that the daemon cannot perform at present; they do not affect readiness"""
