"""The views of starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from comfysup.api.views.instances import InstanceView
from comfysup.supervision.life import Phase


@dataclass(frozen=True)
class StartedView:
    """The result for an instance that was started."""

    instance_id: int
    """id of the instance"""
    name: str
    """name of the instance"""
    port: int
    """port of ComfyUI"""
    status: Literal["started"]
    """`started`: the instance is ready (`wait=spawn`: its process exists). `failed`: its process
    exited or could not be spawned. `timeout`: it is still loading. `error`: the start was
    refused"""
    state: Phase | None
    """state of the instance with this id; null if none exists"""
    pid: int | None
    """pid of its process; null without a process"""
    output: str
    """one line to display. Absent unless `started`"""


@dataclass(frozen=True)
class NotStartedView:
    """The result for an instance that was not started."""

    instance_id: int
    """id of the instance"""
    name: str
    """name of the instance"""
    port: int
    """port of ComfyUI"""
    status: Literal["failed", "timeout", "error"]
    """`started`: the instance is ready (`wait=spawn`: its process exists). `failed`: its process
    exited or could not be spawned. `timeout`: it is still loading. `error`: the start was
    refused"""
    state: Phase | None
    """state of the instance with this id; null if none exists"""
    pid: int | None
    """pid of its process; null without a process"""
    error: str
    """error message, with the hint and the last lines of the log. Absent if `started`"""
    code: str
    """`failed`: an exit reason or `start_failed`. `timeout`: `timeout`. `error`: an error code.
    Absent if `started`"""


@dataclass(frozen=True)
class StartInstancesView:
    """The result for each instance of the request."""

    status: Literal["completed"]
    """always `completed`"""
    environment: str
    """the environment of instances without one"""
    results: Sequence[StartedView | NotStartedView]
    """one for each enabled instance, in the order of the request"""
    total_instances: int
    """number of instances in the request, including disabled ones"""
    started_instances: int
    """number of results with the status `started`"""
    warnings: Sequence[str]
    """the unknown fields of the body, 20 at most"""


@dataclass(frozen=True)
class StartSingleView:
    """The result of starting one instance."""

    status: Literal["success", "starting"]
    """`starting` with 202"""
    message: str
    """a message to display"""
    output: str
    """one line to display"""
    instance: InstanceView
    """the instance after the wait"""
    warnings: Sequence[str]
    """the unknown fields of the body"""
