"""The route table: handler, access, parameters and responses of each route.

Admission and the parsing of queries and bodies follow from the table.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias

from aiohttp import web

from comfysup.api.routes import (
    daemon,
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
from comfysup.api.views import events as event_views
from comfysup.api.views import reload as reload_views
from comfysup.api.views import resources as views
from comfysup.config.instance_fields import InstanceFields

Handler: TypeAlias = Callable[[Services, Call[Q, B]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route(Generic[Q, B]):
    """One route. `body` is None if it accepts no body. `answers` maps HTTP statuses to views."""

    method: str
    path: str
    handler: Handler[Q, B]
    access: Access
    summary: str
    query: type[Q]
    body: type[B] | None
    answers: Mapping[int, type]


def _get(
    path: str,
    handler: Handler[NoQuery, None],
    summary: str,
    answers: Mapping[int, type],
    access: Access = Access.READ,
) -> Route[NoQuery, None]:
    return Route("GET", path, handler, access, summary, NoQuery, None, answers)


def _write(
    target: str,
    handler: Handler[Q, None],
    summary: str,
    query: type[Q],
    answers: Mapping[int, type],
) -> Route[Q, None]:
    """A route that changes something and reads no body; `target` is its method and path."""
    method, path = target.split()
    return Route(method, path, handler, Access.WRITE, summary, query, None, answers)


API = "/api/comfyui"
ENVIRONMENT = API + "/environments/{ref:[^/]+}"
INSTANCE = API + "/instances/{ref:[^/]+}"
"""A name may hold braces, which aiohttp's plain `{ref}` does not match."""

START_INSTANCES = Route(
    "POST",
    f"{API}/start-instances",
    starting.start_instances,
    Access.WRITE,
    "Start several instances at once",
    StartQuery,
    StartInstancesBody,
    {200: views.StartInstancesView},
)
START_SINGLE = Route(
    "POST",
    f"{API}/start-single",
    starting.start_single,
    Access.WRITE,
    "Start one instance",
    StartSingleQuery,
    InstanceFields,
    {200: views.StartSingleView, 202: views.StartSingleView},
)

ONE = {200: views.InstanceView}
ONE_OR_STILL_WAITING = {200: views.InstanceView, 202: views.InstanceView}
READINESS = {200: views.ReadyView, 503: views.ReadyView}

ROUTES: tuple[Route[Any, Any], ...] = (
    # The four of the spec.
    START_INSTANCES,
    START_SINGLE,
    _get(f"{API}/status", instances.get_status, "All, also as a text", {200: views.StatusView}),
    _write(
        f"POST {API}/stop-all",
        instances.stop_all,
        "Stop all instances, within 25 seconds",
        NoQuery,
        {200: views.StopAllView},
    ),
    # Instances as resources.
    _get(f"{API}/instances", instances.list_instances, "All instances", {200: views.InstancesView}),
    _get(INSTANCE, instances.get_instance, "One instance", ONE),
    _write(
        f"POST {INSTANCE}/start",
        instances.start_instance,
        "Start an instance with the spec that it has",
        StartAgainQuery,
        ONE_OR_STILL_WAITING,
    ),
    _write(
        f"POST {INSTANCE}/stop",
        instances.stop_instance,
        "Stop an instance",
        StopQuery,
        ONE_OR_STILL_WAITING,
    ),
    _write(
        f"POST {INSTANCE}/restart",
        instances.restart_instance,
        "Give an instance a new process",
        RestartQuery,
        ONE_OR_STILL_WAITING,
    ),
    _write(
        f"DELETE {INSTANCE}", instances.remove_instance, "Stop an instance, forget it", NoQuery, ONE
    ),
    Route(
        "GET",
        f"{INSTANCE}/logs",
        logs.get_logs,
        Access.FOLLOW,
        "The log of an instance, as text or as server-sent events",
        LogsQuery,
        None,
        {},
    ),
    # What happens.
    Route(
        "GET",
        f"{API}/events",
        events.follow_events,
        Access.FOLLOW,
        "Follow what happens, as server-sent events",
        EventsQuery,
        None,
        {200: event_views.InstanceEventView},
    ),
    # What instances are started from, and by.
    _write(
        f"POST {API}/reload",
        daemon.reload,
        "Read instances.json again and follow it",
        ReloadQuery,
        {200: reload_views.ReloadView},
    ),
    _get(
        f"{API}/environments",
        environments.list_environments,
        "The environments of the workspace",
        {200: views.EnvironmentsView},
    ),
    _write(
        f"POST {ENVIRONMENT}/link",
        environments.link_models,
        "Share the models of an environment with all others",
        NoQuery,
        {200: views.LinkView},
    ),
    _write(
        f"POST {ENVIRONMENT}/restart",
        environments.restart_one_by_one,
        "Restart the instances of an environment one at a time, while each comes back",
        RestartQuery,
        {200: reload_views.RollingRestartView},
    ),
    _get(f"{API}/daemon", daemon.get_daemon, "The daemon itself", {200: views.DaemonView}),
    _write(
        f"POST {API}/daemon/restart",
        daemon.restart_daemon,
        "Restart the daemon in place; no instance is affected",
        NoQuery,
        {202: views.RestartingView},
    ),
    # Probes.
    _get(
        "/livez", daemon.get_livez, "Whether the daemon works", {200: views.LiveView}, Access.OPEN
    ),
    _get(
        "/readyz",
        daemon.get_readyz,
        "Whether all wanted instances are ready",
        READINESS,
        Access.OPEN,
    ),
)
