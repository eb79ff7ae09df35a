"""The route table: handler, access, parameters and responses of each route.

Admission and the parsing of queries and bodies follow from the table.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias

from aiohttp import web

from comfysup.api.routes import (
    daemon,
    documents,
    environments,
    events,
    instances,
    logs,
    starting,
)
from comfysup.api.schemas import (
    EventsQuery,
    LogsQuery,
    NoQuery,
    ReloadQuery,
    RestartQuery,
    StartAgainQuery,
    StartInstancesBody,
    StartQuery,
    StartSingleQuery,
    StopQuery,
)
from comfysup.api.server.request import B, Call, Q
from comfysup.api.server.security import Access
from comfysup.api.services import Services
from comfysup.api.views.daemon import DaemonView, LiveView, ReadyView, RestartingView
from comfysup.api.views.environments import EnvironmentsView, LinkView
from comfysup.api.views.events import EVENT_VIEWS
from comfysup.api.views.instances import InstancesView, InstanceView, StatusView, StopAllView
from comfysup.api.views.reload import ReloadView, RollingRestartView
from comfysup.api.views.starting import StartInstancesView, StartSingleView
from comfysup.config.instance_fields import InstanceFields

Handler: TypeAlias = Callable[[Services, Call[Q, B]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route(Generic[Q, B]):
    """One route. `body` is None if it accepts no body. `answers` maps HTTP statuses to views.

    `errors` are the error codes beyond those that every route with this access and body may return.
    `streams` maps the names of server-sent events to their views, if the route can send any.
    `media` are the media types that it can return beside JSON. `tag` groups the routes in the
    OpenAPI document.
    """

    method: str
    path: str
    handler: Handler[Q, B]
    access: Access
    summary: str
    query: type[Q]
    body: type[B] | None
    answers: Mapping[int, type]
    tag: str
    errors: tuple[str, ...] = ()
    streams: Mapping[str, type] = field(default_factory=dict)
    media: tuple[str, ...] = ()


def _get(
    path: str,
    handler: Handler[NoQuery, None],
    summary: str,
    answers: Mapping[int, type],
    tag: str,
    *,
    access: Access = Access.READ,
    errors: tuple[str, ...] = (),
) -> Route[NoQuery, None]:
    return Route("GET", path, handler, access, summary, NoQuery, None, answers, tag, errors)


def _write(
    target: str,
    handler: Handler[Q, None],
    summary: str,
    query: type[Q],
    answers: Mapping[int, type],
    tag: str,
    errors: tuple[str, ...],
) -> Route[Q, None]:
    """A route that changes something and reads no body; `target` is its method and path."""
    method, path = target.split()
    access = Access.WRITE
    return Route(method, path, handler, access, summary, query, None, answers, tag, errors)


def _page(
    path: str,
    handler: Handler[NoQuery, None],
    summary: str,
    *media: str,
    errors: tuple[str, ...] = (),
) -> Route[NoQuery, None]:
    return Route(
        "GET", path, handler, Access.OPEN, summary, NoQuery, None, {}, DAEMON, errors, media=media
    )


API = "/api/comfyui"
ENVIRONMENT = API + "/environments/{ref:[^/]+}"
INSTANCE = API + "/instances/{ref:[^/]+}"
"""A name may hold braces, which aiohttp's plain `{ref}` does not match."""

INSTANCES = "instances"
ENVIRONMENTS = "environments"
DAEMON = "daemon"

UNKNOWN = ("unknown_instance",)
REFUSED_START = (
    "environment_in_use",
    "environment_unresponsive",
    "name_taken",
    "port_taken",
    "shutting_down",
    "spec_conflict",
    "start_failed",
    "unknown_environment",
    "unknown_gpu",
)
FAILED_STOP = ("started_again", "stop_failed")

START_INSTANCES = Route(
    "POST",
    f"{API}/start-instances",
    starting.start_instances,
    Access.WRITE,
    "Start several instances",
    StartQuery,
    StartInstancesBody,
    {200: StartInstancesView},
    INSTANCES,
)
START_SINGLE = Route(
    "POST",
    f"{API}/start-single",
    starting.start_single,
    Access.WRITE,
    "Start one instance",
    StartSingleQuery,
    InstanceFields,
    {200: StartSingleView, 202: StartSingleView},
    INSTANCES,
    REFUSED_START,
)

ONE = {200: InstanceView}
ONE_OR_STILL_WAITING = {200: InstanceView, 202: InstanceView}
READINESS = {200: ReadyView, 503: ReadyView}

ROUTES: tuple[Route[Any, Any], ...] = (
    # The four of the spec.
    START_INSTANCES,
    START_SINGLE,
    _get(
        f"{API}/status",
        instances.get_status,
        "Return all instances, also as a text table",
        {200: StatusView},
        INSTANCES,
    ),
    _write(
        f"POST {API}/stop-all",
        instances.stop_all,
        "Stop all instances within 25 seconds",
        NoQuery,
        {200: StopAllView},
        INSTANCES,
        ("stop_failed",),
    ),
    # Instances as resources.
    _get(
        f"{API}/instances",
        instances.list_instances,
        "Return all instances",
        {200: InstancesView},
        INSTANCES,
    ),
    _get(INSTANCE, instances.get_instance, "Return one instance", ONE, INSTANCES, errors=UNKNOWN),
    _write(
        f"POST {INSTANCE}/start",
        instances.start_instance,
        "Start a known instance",
        StartAgainQuery,
        ONE_OR_STILL_WAITING,
        INSTANCES,
        UNKNOWN + REFUSED_START,
    ),
    _write(
        f"POST {INSTANCE}/stop",
        instances.stop_instance,
        "Stop an instance",
        StopQuery,
        ONE_OR_STILL_WAITING,
        INSTANCES,
        UNKNOWN + FAILED_STOP,
    ),
    _write(
        f"POST {INSTANCE}/restart",
        instances.restart_instance,
        "Restart an instance with a new process",
        RestartQuery,
        ONE_OR_STILL_WAITING,
        INSTANCES,
        UNKNOWN + REFUSED_START,
    ),
    _write(
        f"DELETE {INSTANCE}",
        instances.remove_instance,
        "Stop and remove an instance",
        NoQuery,
        ONE,
        INSTANCES,
        UNKNOWN + FAILED_STOP,
    ),
    Route(
        "GET",
        f"{INSTANCE}/logs",
        logs.get_logs,
        Access.FOLLOW,
        "Return or follow the log of an instance",
        LogsQuery,
        None,
        {},
        INSTANCES,
        (*UNKNOWN, "log_unreadable", "too_many_followers", "too_many_readers"),
        streams={"message": str, "progress": str, "removed": str},
        media=("text/plain",),
    ),
    # What happens.
    Route(
        "GET",
        f"{API}/events",
        events.follow_events,
        Access.FOLLOW,
        "Follow events",
        EventsQuery,
        None,
        {},
        DAEMON,
        ("too_many_readers",),
        streams=EVENT_VIEWS,
    ),
    # What instances are started from, and by.
    _write(
        f"POST {API}/reload",
        daemon.reload,
        "Read instances.json again and apply it",
        ReloadQuery,
        {200: ReloadView},
        DAEMON,
        (),
    ),
    _get(
        f"{API}/environments",
        environments.list_environments,
        "Return the environments of the workspace",
        {200: EnvironmentsView},
        ENVIRONMENTS,
        errors=("environment_unresponsive",),
    ),
    _write(
        f"POST {ENVIRONMENT}/link",
        environments.link_models,
        "Share the models of an environment",
        NoQuery,
        {200: LinkView},
        ENVIRONMENTS,
        ("unknown_environment", "environment_in_use", "environment_unresponsive"),
    ),
    _write(
        f"POST {ENVIRONMENT}/restart",
        environments.restart_one_by_one,
        "Restart the instances of an environment one at a time",
        RestartQuery,
        {200: RollingRestartView},
        ENVIRONMENTS,
        ("unknown_environment", "environment_unresponsive"),
    ),
    _get(
        f"{API}/daemon",
        daemon.get_daemon,
        "Return version, uptime and settings of the daemon",
        {200: DaemonView},
        DAEMON,
    ),
    _write(
        f"POST {API}/daemon/restart",
        daemon.restart_daemon,
        "Restart the daemon in place; no instance is affected",
        NoQuery,
        {202: RestartingView},
        DAEMON,
        ("restart_refused", "shutting_down"),
    ),
    # Probes.
    _get(
        "/livez",
        daemon.get_livez,
        "Return 200 while the daemon responds",
        {200: LiveView},
        DAEMON,
        access=Access.OPEN,
    ),
    _get(
        "/readyz",
        daemon.get_readyz,
        "Return 200 when all wanted instances are ready",
        READINESS,
        DAEMON,
        access=Access.OPEN,
    ),
    # Documents.
    _get(
        "/openapi.json",
        documents.get_openapi,
        "Return this document",
        {200: dict},
        DAEMON,
        access=Access.OPEN,
    ),
    _page("/docs", documents.get_docs, "Return a page that shows this document", "text/html"),
    _page(
        "/docs/{file}",
        documents.get_docs_file,
        "Return a file of that page",
        *sorted({*documents.FILES.values()}),
        errors=("not_found",),
    ),
)
