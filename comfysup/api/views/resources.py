"""The shapes of answers, as docs/reference/http.md shows them. Times are RFC 3339 texts in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import WithJsonSchema

from comfysup.model.environment import LeftBehind
from comfysup.model.observed import Usage
from comfysup.supervision.life import Phase

Time: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as text (RFC 3339) in UTC, to the millisecond."""


@dataclass(frozen=True)
class ExitView:
    """How a process ended; `exit_code` and `signal` are null where that is not known.

    `hint` says what to do about it, null if unknown. `prompts` are the ids of those that
    the process was working on.
    """

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
    """What the probes found; `failures` are those in a row."""

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
    """What is wrong with an instance that runs; `hint` is null if there is no remedy."""

    code: str
    """see below"""
    message: str
    """a message to display"""
    hint: str | None
    """a remedy; null if none is known"""


@dataclass(frozen=True)
class PromptView:
    """A prompt that is being worked on."""

    id: str
    """ComfyUI's id of the prompt"""
    since: Time
    """when the prompt was first seen running"""


@dataclass(frozen=True)
class QueueView:
    """How many prompts run and wait."""

    running: int
    """number of running prompts"""
    pending: int
    """number of waiting prompts"""
    running_prompts: Sequence[PromptView]
    """the prompts that are being executed"""


@dataclass(frozen=True)
class InstanceView:
    """An instance; null is what is not known, or does not apply now."""

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
    """All instances, also as a text for people."""

    status: Literal["success"]
    """always `success`"""
    output: str
    """a table to display"""
    instances: Sequence[InstanceView]
    """by id"""
    troubles: Sequence[str]
    """operations that the daemon cannot perform at present; empty if there are none"""


@dataclass(frozen=True)
class StartedView:
    """One instance that was asked for and runs."""

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
    """One instance that was asked for and does not run, with a word for programs."""

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
    """What became of each instance that was asked for."""

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
    """An instance that runs (`success`) or still loads (`starting`)."""

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


@dataclass(frozen=True)
class StopAllView:
    """Nothing runs any more; or, when the daemon restarts in place meanwhile, soon will not."""

    status: Literal["success", "stopping"]
    """`stopping` if the daemon restarts in place meanwhile"""
    message: str
    """a message to display"""
    output: str
    """one line per instance"""


@dataclass(frozen=True)
class EnvironmentView:
    """An environment; `notes` say what it lacks without being unusable."""

    name: str
    """name of the environment"""
    path: str
    """absolute path"""
    usable: bool
    """whether an instance can be started from it"""
    problems: Sequence[str]
    """reasons why it is not usable"""
    notes: Sequence[str]
    """problems that do not make it unusable"""
    comfyui_version: str | None
    """null if no file contains it"""
    python_version: str | None
    """null if no file contains it"""
    torch_version: str | None
    """null if no file contains it"""
    custom_nodes: Sequence[str]
    """directories and files of its custom nodes"""
    models_link: str | None
    """target of the symbolic link `models`; null if it is not a link"""


@dataclass(frozen=True)
class EnvironmentsView:
    """All environments of the workspace, by name."""

    environments: Sequence[EnvironmentView]
    """by name"""


@dataclass(frozen=True)
class LinkView:
    """What was done to share the models of an environment.

    `moved` are files that are in the shared tree now, `aside` those that were there already;
    `linked` is false as long as something is `left`.
    """

    environment: str
    """name of the environment"""
    linked: bool
    """false while `left` is not empty"""
    done: Sequence[str]
    """the actions performed, in order"""
    moved: Sequence[str]
    """files moved to the shared directory"""
    aside: Sequence[str]
    """files whose name already existed in the shared directory"""
    left: Sequence[LeftBehind]
    """files that were not moved"""


@dataclass(frozen=True)
class RestartingView:
    """The response to a restart in place."""

    status: str
    """always `restarting`"""
    message: str
    """a message to display"""


@dataclass(frozen=True)
class DaemonView:
    """The daemon itself; its settings without secrets.

    `autolaunch_pending` are the ids of the entries of instances.json that are still to be started.
    `process_handles` is `pidfd`, or `polling` where the kernel refuses pidfds: then the end of a
    process is noticed up to 0.05 s later.
    """

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
    """Whether all wanted instances are ready; `waiting_for` names those that are not.

    An enabled entry of instances.json that could not be started is wanted. `troubles` say what the
    daemon cannot do at present; no instance is less ready for it.
    """

    status: Literal["ready", "not_ready"]
    """`ready` if all wanted instances are ready"""
    waiting_for: Sequence[str]
    """the wanted instances that are not ready, each with its state"""
    troubles: Sequence[str]
    """operations that the daemon cannot perform at present; they do not affect readiness"""
