"""The shapes of answers, as docs/reference/http.md shows them. Times are RFC 3339 texts in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from comfysup.model.environment import LeftBehind
from comfysup.model.observed import Usage


@dataclass(frozen=True)
class ExitView:
    """How a process ended; `exit_code` and `signal` are null where that is not known.

    `hint` says what to do about it, null if unknown. `prompts` are the ids of those that
    the process was working on.
    """

    at: str
    exit_code: int | None
    signal: str | None
    expected: bool
    reason: str
    message: str
    hint: str | None
    log_tail: Sequence[str]
    prompts: Sequence[str]


@dataclass(frozen=True)
class HealthView:
    """What the probes found; `failures` are those in a row."""

    live: bool | None
    checked_at: str | None
    latency_seconds: float | None
    failures: int


@dataclass(frozen=True)
class ConditionView:
    """What is wrong with an instance that runs; `hint` is null if there is no remedy."""

    code: str
    message: str
    hint: str | None


@dataclass(frozen=True)
class PromptView:
    """A prompt that is being worked on."""

    id: str
    since: str


@dataclass(frozen=True)
class QueueView:
    """How many prompts run and wait."""

    running: int
    pending: int
    running_prompts: Sequence[PromptView]


@dataclass(frozen=True)
class InstanceView:
    """An instance; null is what is not known, or does not apply now."""

    id: int
    name: str
    description: str
    environment: str
    port: int
    extra_args: Sequence[str]
    gpu: str | None
    url: str
    log_file: str
    state: str
    ready: bool
    wanted: bool
    pid: int | None
    generation: int
    started_at: str | None
    ready_at: str | None
    uptime_seconds: float | None
    startup_seconds: float | None
    restarts: int
    consecutive_failures: int
    next_restart_at: str | None
    last_exit: ExitView | None
    health: HealthView
    conditions: Sequence[ConditionView]
    queue: QueueView | None
    usage: Usage | None


@dataclass(frozen=True)
class InstancesView:
    """All instances, by id."""

    instances: Sequence[InstanceView]


@dataclass(frozen=True)
class StatusView:
    """All instances, also as a text for people."""

    status: Literal["success"]
    output: str
    instances: Sequence[InstanceView]
    troubles: Sequence[str]


@dataclass(frozen=True)
class StartedView:
    """One instance that was asked for and runs."""

    instance_id: int
    name: str
    port: int
    status: Literal["started"]
    state: str | None
    pid: int | None
    output: str


@dataclass(frozen=True)
class NotStartedView:
    """One instance that was asked for and does not run, with a word for programs."""

    instance_id: int
    name: str
    port: int
    status: Literal["failed", "timeout", "error"]
    state: str | None
    pid: int | None
    error: str
    code: str


@dataclass(frozen=True)
class StartInstancesView:
    """What became of each instance that was asked for."""

    status: Literal["completed"]
    environment: str
    results: Sequence[StartedView | NotStartedView]
    total_instances: int
    started_instances: int
    warnings: Sequence[str]


@dataclass(frozen=True)
class StartSingleView:
    """An instance that runs (`success`) or still loads (`starting`)."""

    status: Literal["success", "starting"]
    message: str
    output: str
    instance: InstanceView
    warnings: Sequence[str]


@dataclass(frozen=True)
class StopAllView:
    """Nothing runs any more; or, when the daemon restarts in place meanwhile, soon will not."""

    status: Literal["success", "stopping"]
    message: str
    output: str


@dataclass(frozen=True)
class EnvironmentView:
    """An environment; `notes` say what it lacks without being unusable."""

    name: str
    path: str
    usable: bool
    problems: Sequence[str]
    notes: Sequence[str]
    comfyui_version: str | None
    python_version: str | None
    torch_version: str | None
    custom_nodes: Sequence[str]
    models_link: str | None


@dataclass(frozen=True)
class EnvironmentsView:
    """All environments of the workspace, by name."""

    environments: Sequence[EnvironmentView]


@dataclass(frozen=True)
class LinkView:
    """What was done to share the models of an environment.

    `moved` are files that are in the shared tree now, `aside` those that were there already;
    `linked` is false as long as something is `left`.
    """

    environment: str
    linked: bool
    done: Sequence[str]
    moved: Sequence[str]
    aside: Sequence[str]
    left: Sequence[LeftBehind]


@dataclass(frozen=True)
class RestartingView:
    """The response to a restart in place."""

    status: str
    message: str


@dataclass(frozen=True)
class DaemonView:
    """The daemon itself; its settings without secrets.

    `autolaunch_pending` are the ids of the entries of instances.json that are still to be started.
    `process_handles` is `pidfd`, or `polling` where the kernel refuses pidfds: then the end of a
    process is noticed up to 0.05 s later.
    """

    version: str
    pid: int
    started_at: str
    uptime_seconds: float
    troubles: Sequence[str]
    autolaunch_pending: Sequence[int]
    process_handles: str
    settings: Mapping[str, object]


@dataclass(frozen=True)
class LiveView:
    """The daemon works."""

    status: Literal["live"]


@dataclass(frozen=True)
class ReadyView:
    """Whether all wanted instances are ready; `waiting_for` names those that are not.

    An enabled entry of instances.json that could not be started is wanted. `troubles` say what the
    daemon cannot do at present; no instance is less ready for it.
    """

    status: Literal["ready", "not_ready"]
    waiting_for: Sequence[str]
    troubles: Sequence[str]
