"""Builds the parts of a daemon from its settings; only their threads run afterwards.

Each part registers its cleanup with one `AsyncExitStack` when it is built. The instances have been
stopped or are left to the next daemon by then. So the cleanup of a daemon has this order:

1. log readers get the remaining lines, and the port and the socket are closed (`Daemon._open`);
2. the watchdog stops watching;
3. requests that outlast their callers, links of models and reloads are cancelled;
4. the fleet releases its instances: their tasks end, their processes do not;
5. gap detection, the reaper, and the sampling of queues, usage and GPUs end;
6. the session with ComfyUI is closed, and the claims on shared directories are released;
7. the log pump writes what the pipes hold, and closes the logs;
8. the heartbeat is closed, and the executors are shut down;
9. the lock of the run directory is released, unless the next program in this process keeps it.

Each step has a time limit. A failed step is logged, and the next step runs.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from comfysup.api.event_publisher import EventPublisher
from comfysup.api.server.app import make_app
from comfysup.api.server.limits import Limits
from comfysup.api.server.security import Admission
from comfysup.api.services import DaemonFacts, Services
from comfysup.api.stream_limit import StreamLimit
from comfysup.api.views.serializers import present
from comfysup.app.autolaunch import autolaunch, pass_over
from comfysup.app.recovery import RecoveredState, going_on
from comfysup.app.reporting import Reporting, make_reporting, now
from comfysup.app.restart_check import stalls, unkillable
from comfysup.app.state_store import StateStore
from comfysup.app.storage import CLEANUP_PATIENCE, Storage, open_storage
from comfysup.app.supervisor import Supervisor, make_supervisor
from comfysup.app.telemetry import Telemetry
from comfysup.comfyui.command import base_url
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Conditions
from comfysup.linux.executor import Executor, Executors
from comfysup.linux.host.ports import is_owner
from comfysup.linux.process import descriptors
from comfysup.linux.rundir.run_directory import RunDirectory
from comfysup.linux.rundir.state_file import StateFile
from comfysup.linux.watchdog import Watchdog
from comfysup.logs.reader import LogReader
from comfysup.supervision.attention import Attention
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.tasks import bounded

log = structlog.get_logger()

EVENT_READERS = 256
EVENT_PATIENCE = 30.0
"""The maximum number of event readers, and the seconds after which a stalled reader is closed."""

READ_PATIENCE = 10.0
"""Seconds for reading a file of the program."""

LOG_FOLLOWERS = 64
LOG_PATIENCE = 600.0
"""The same for log followers and log readers. The time is long because people pause a terminal to
read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a daemon; `recovered` is the state of the previous daemon.

    `sweeps` has the threads that search for left processes. `autolaunch` starts the entries of
    instances.json. `unkillable` returns why no other program can be executed now, or None.
    """

    fleet: Fleet
    publisher: EventPublisher
    store: StateStore
    recovered: RecoveredState
    sweeps: Executor
    telemetry: Telemetry
    attention: Attention
    autolaunch: Callable[[], Coroutine[None, None, None]]
    logs: LogReader
    facts: DaemonFacts
    app: web.Application
    troubles: Conditions
    settings_file: StateFile
    unkillable: Callable[[], str | None]


async def assemble(
    settings: Settings,
    run: RunDirectory,
    restart: Callable[[], Awaitable[None]],
    resources: AsyncExitStack,
    last_event: int = 0,
) -> Parts:
    """Build all parts in the order of their dependencies; `resources` closes them.

    `restart` restarts the daemon in place, or raises `RefusedError`. `last_event` is the id of the
    last event of the previous program in this process, or 0.
    """
    reporting = make_reporting(settings, last_event, lambda instance: present(instance, services))
    troubles = reporting.troubles
    if settings.mistakes:
        troubles.report(Path("settings"), _wrong_environment(settings.mistakes))
    executors = Executors()
    resources.callback(executors.shutdown)
    storage = await open_storage(settings, run, executors, troubles.report, resources)
    supervisor = await make_supervisor(settings, storage, reporting, executors, resources)
    services = _services(settings, storage, supervisor, reporting, restart, executors)
    resources.push_async_callback(bounded, services.unhurried.close, CLEANUP_PATIENCE)
    watchdog = Watchdog(
        partial(stalls, executors, storage.pump, supervisor.fleet, storage.paths.log_file),
        troubles.report,
    )
    resources.callback(watchdog.close)
    watchdog.start()
    storage.pump.start()
    supervisor.launcher.settle_outputs(going_on(storage.recovered.state.instances))
    supervisor.reaper.start()
    supervisor.telemetry.start(troubles.report)
    return Parts(
        supervisor.fleet,
        reporting.publisher,
        supervisor.store,
        storage.recovered,
        executors.sweeps,
        supervisor.telemetry,
        supervisor.attention,
        lambda: autolaunch(supervisor.reloader, storage.instances_file, reporting.shortfall),
        storage.logs,
        reporting.facts,
        make_app(services, _admission(settings), limits_of(settings)),
        troubles,
        StateFile(run.settings),
        partial(unkillable, executors, storage.pump),
    )


def _services(
    settings: Settings,
    storage: Storage,
    supervisor: Supervisor,
    reporting: Reporting,
    restart: Callable[[], Awaitable[None]],
    executors: Executors,
) -> Services:
    """Return the services that the routes use."""
    environments, telemetry = supervisor.environments, supervisor.telemetry
    return Services(
        fleet=supervisor.fleet,
        status_board=reporting.board,
        clock=now,
        defaults=lambda: settings.defaults,
        guarded=environments.guarded if settings.public else _guard_nothing,
        environments=environments.look,
        link=environments.link,
        restart=restart,
        daemon=lambda: reporting.facts,
        troubles=lambda: reporting.troubles.sentences,
        shortfall=lambda: reporting.shortfall.waiting_for,
        log_file=storage.paths.log_file,
        url=base_url,
        usage=telemetry.usage,
        queue=telemetry.queue,
        journal=reporting.publisher.journal,
        stream_limit=StreamLimit(EVENT_READERS, EVENT_PATIENCE),
        reload=supervisor.reloader.reload,
        plan_reload=supervisor.reloader.plan,
        logs=storage.logs,
        follower_limit=StreamLimit(LOG_FOLLOWERS, LOG_PATIENCE, "too_many_followers"),
        log_reader_limit=StreamLimit(LOG_FOLLOWERS, LOG_PATIENCE),
        autolaunch_pending=lambda: reporting.shortfall.pending,
        pass_over=lambda ref: pass_over(
            ref, reporting.shortfall, supervisor.reloader, supervisor.fleet
        ),
        read_file=lambda file: executors.environments.ask(
            file.read_bytes, str(file.parent), READ_PATIENCE
        ),
    )


def _wrong_environment(mistakes: Sequence[str]) -> str:
    listed = "; ".join(mistakes)
    return f"the last good settings are in use, since the environment is wrong: {listed}"


async def _guard_nothing(_environment: str, _arguments: Sequence[str]) -> str | None:
    """Accept any argument, because only callers on this machine can connect."""
    return None


def limits_of(settings: Settings) -> Limits:
    """Return the limits on requests from the settings.

    Connections take at most half of the descriptors: a quarter for each of the two listeners.
    """
    return Limits(
        body_bytes=settings.max_body,
        body_seconds=settings.body_timeout,
        json_depth=settings.max_json_depth,
        idle_seconds=settings.idle_timeout,
        connections=min(settings.max_connections, descriptors.limit() // 4),
    )


def _admission(settings: Settings) -> Admission:
    return Admission(is_owner, settings.token, settings.read_token, settings.allowed_hosts)
