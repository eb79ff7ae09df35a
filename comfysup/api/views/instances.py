"""The views of instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from comfysup.api.views.time import Time
from comfysup.model.observed import Usage
from comfysup.supervision.life import Phase


@dataclass(frozen=True)
class ExitView:
    """How a process exited."""

    at: Time
    """time of the exit"""
    exit_code: int | None
    """null if a signal ended the process, no program was executed, or the status is unavailable"""
    signal: str | None
    """for example `SIGKILL`; null if no signal ended the process"""
    expected: bool
    """whether the exit was requested"""
    reason: str
    """one of the exit reasons"""
    message: str
    """a message to display"""
    hint: str | None
    """a remedy; null if none is known"""
    log_tail: Sequence[str]
    """the last lines of its log"""
    prompts: Sequence[str]
    """ids of the prompts that it was executing"""


@dataclass(frozen=True)
class HealthView:
    """The results of the liveness probes."""

    live: bool | None
    """whether the last probe succeeded; null before the first one"""
    checked_at: Time | None
    """time of the last probe"""
    latency_seconds: float | None
    """duration of the last response; null without one"""
    failures: int
    """failed probes in a row"""


@dataclass(frozen=True)
class ConditionView:
    """A persistent problem of a running instance."""

    code: str
    """the kind of problem, for example `custom_node_failed`"""
    message: str
    """a message to display"""
    hint: str | None
    """a remedy; null if none is known"""


@dataclass(frozen=True)
class PromptView:
    """A prompt that is being executed."""

    id: str
    """ComfyUI's id of the prompt"""
    since: Time
    """when the prompt was first seen running"""


@dataclass(frozen=True)
class QueueView:
    """The queue of an instance."""

    running: int
    """number of running prompts"""
    pending: int
    """number of waiting prompts"""
    running_prompts: Sequence[PromptView]
    """the prompts that are being executed"""


@dataclass(frozen=True)
class InstanceView:
    """An instance. A value that is unknown or does not apply at present is null."""

    id: int
    """id of the instance, which no other instance has"""
    name: str
    """name of the instance, which no other instance has"""
    description: str
    """empty if none was given"""
    environment: str
    """the environment from whose venv it is started"""
    port: int
    """port of ComfyUI"""
    extra_args: Sequence[str]
    """the arguments of `EXTRA_ARGS`, followed by its own"""
    gpu: str | None
    """as requested; null if not requested"""
    url: str
    """address of ComfyUI"""
    log_file: str
    """absolute path"""
    state: Phase
    """`stopped`, `starting`, `running`, `draining`, `stopping`, `backoff`, `failed`, `stuck`"""
    ready: bool
    """whether the state is `running`"""
    wanted: bool
    """whether the instance should run, at present or after the operation in progress"""
    pid: int | None
    """pid of its process; null without a process"""
    generation: int
    """number of starts so far"""
    started_at: Time | None
    """start of the process; null without a process"""
    ready_at: Time | None
    """when the process became ready; null until then"""
    uptime_seconds: float | None
    """since `started_at`"""
    startup_seconds: float | None
    """time from the start, or from the last reload of ComfyUI in place, to ready"""
    restarts: int
    """automatic restarts since the last start by a caller"""
    consecutive_failures: int
    """failures in a row without a stable run"""
    next_restart_at: Time | None
    """time of the next attempt; null unless the state is `backoff`"""
    last_exit: ExitView | None
    """how its last process exited; null if none has. Persists when the instance is started again"""
    health: HealthView
    """result of the last probe"""
    conditions: Sequence[ConditionView]
    """persistent problems of the present process"""
    queue: QueueView | None
    """null while unknown"""
    usage: Usage | None
    """null without a process, or before the first measurement"""


@dataclass(frozen=True)
class InstancesView:
    """All instances, by id."""

    instances: Sequence[InstanceView]
    """by id"""


@dataclass(frozen=True)
class StatusView:
    """All instances, also as a text table."""

    status: Literal["success"]
    """always `success`"""
    output: str
    """a table to display"""
    instances: Sequence[InstanceView]
    """by id"""
    troubles: Sequence[str]
    """operations that the daemon cannot perform at present; empty if there are none"""


@dataclass(frozen=True)
class StopAllView:
    """The result of stopping all instances."""

    status: Literal["success", "stopping"]
    """`stopping` if the daemon restarts in place meanwhile"""
    message: str
    """a message to display"""
    output: str
    """one line per instance"""
