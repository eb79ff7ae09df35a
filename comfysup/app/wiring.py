"""The parts of a daemon, built from its settings and put together. Nothing runs yet but threads."""

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web

from comfysup.api.event_publisher import EventPublisher
from comfysup.api.server.app import make_app
from comfysup.api.server.limits import Limits
from comfysup.api.server.security import Admission
from comfysup.api.services import DaemonFacts, Services, StatusBoard
from comfysup.api.stream_limit import StreamLimit
from comfysup.api.views.serializers import present
from comfysup.app.autolaunch import Shortfall, autolaunch
from comfysup.app.environments import EnvironmentService
from comfysup.app.event_log import log_notice
from comfysup.app.launcher import Hardware, InstanceLauncher, Paths
from comfysup.app.recovery import RecoveredState, going_on, recover_state
from comfysup.app.reload.reloader import Reloader
from comfysup.app.restart_check import stalls, unkillable
from comfysup.app.shared_volume import Sharing
from comfysup.app.state_store import StateStore, written_identity
from comfysup.app.telemetry import Telemetry
from comfysup.comfyui.command import InheritedEnv, base_url, find_tcmalloc
from comfysup.comfyui.environment.workspace import Environments
from comfysup.comfyui.probe import new_session
from comfysup.comfyui.queue.backlog_store import Storage
from comfysup.config.instances_file import InstancesFile, read_instances_file
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Conditions
from comfysup.linux.executor import Executor, Executors
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.host.peer_credentials import is_owner
from comfysup.linux.process.reaper import Reaper
from comfysup.linux.rundir.heartbeat import Heartbeat
from comfysup.linux.rundir.run_directory import RunDirectory
from comfysup.linux.rundir.state_file import StateFile
from comfysup.linux.watchdog import Watchdog
from comfysup.logs.files import Rotation
from comfysup.logs.output import LogOutput
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from comfysup.logs.unreported_losses import UnsaidLosses
from comfysup.model.instances_file import ConfigError, ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.attention import Attention
from comfysup.supervision.context import InstanceContext
from comfysup.supervision.events import LifecycleEvent
from comfysup.supervision.fleet import RELEASE_PATIENCE, Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Moment
from comfysup.supervision.tasks import bounded

log = structlog.get_logger()

EVENT_READERS = 256
EVENT_PATIENCE = 30.0
"""How many may follow the events, and the seconds after which one that takes nothing must go."""

DISK_PATIENCE = 10.0
"""Seconds for a file that is read, and a program that is asked, once."""

CLEANUP_PATIENCE = 5.0
"""Seconds for each step of the cleanup when the daemon ends or starts anew; then comes the next."""

LOG_FOLLOWERS = 64
LOG_PATIENCE = 600.0
"""The same for those who follow logs, and for those who read one to its end.

People stop a terminal to read, and go on.
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon works with. `recovered` is what the one before it left.

    `sweeps` has the threads that look for what processes leave. `autolaunch` starts what
    instances.json names, `unkillable` says why no other program can be executed now.
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


async def assemble(  # noqa: PLR0915 - a statement for each part
    settings: Settings,
    run: RunDirectory,
    restart: Callable[[], Awaitable[None]],
    resources: AsyncExitStack,
    last_event: int = 0,
) -> Parts:
    """Build all parts, in the order of their needs; what must be closed is given to `resources`.

    `restart` lets the daemon start anew in place, or raises `RefusedError`. `last_event` is the id
    of the last event of the program before this one in this process, 0 where there was none.
    """
    board = StatusBoard()
    journal = Journal(last_event + 1 if last_event else _milliseconds_since_boot())
    publisher = EventPublisher(journal, now, lambda instance: present(instance, services))
    facts = DaemonFacts(version("comfysup"), os.getpid(), now(), settings.shown())

    def tell_of_troubles() -> None:
        board.invalidate()
        publisher.troubles(facts, troubles.sentences)

    troubles = Conditions(tell_of_troubles)
    shortfall = Shortfall(settings.instances_file, troubles.report)
    executors = Executors()
    resources.callback(executors.shutdown)
    read_file = partial(_read_instances_file, settings, executors)
    file = await read_file()
    state_file = StateFile(run.state, troubles.report)
    life = BootIdentity.current()
    identity = run.identity(partial(written_identity, state_file))
    heartbeat = Heartbeat(run.heartbeat)
    resources.callback(heartbeat.close)
    recovered = await recover_state(
        state_file, life, identity, settings, executors.processes, run.fifo, heartbeat
    )
    troubles.report(state_file.aside, recovered.trouble)
    if settings.mistakes:
        troubles.report(Path("settings"), _wrong_environment(settings.mistakes))
    telemetry = Telemetry(
        session=await resources.enter_async_context(new_session()),
        executors=executors,
        storage=Storage(
            lambda number: StateFile(run.queue(number), troubles.report),
            f"{life.boot_id} {life.init_start_time}",
        ),
        tell=publisher.prompt,
        changed=board.invalidate,
        output=lambda number: LogOutput(pump, paths.log_file(number)),
        instances=lambda: fleet,
    )
    resources.push_async_callback(bounded, telemetry.close, CLEANUP_PATIENCE)
    await telemetry.queues.load(record.spec.id for record in recovered.state.instances)
    losses = UnsaidLosses(StateFile(run.path / "losses.json", troubles.report))
    pump = LogPump(Rotation(settings.log_max_bytes, settings.log_keep), troubles.report, losses)
    resources.push_async_callback(bounded, pump.close, CLEANUP_PATIENCE)
    logs = LogReader(pump, executors.logs)
    environments = Environments(settings.workspace)
    sharing = Sharing(settings.port, executors.logs, resources, troubles.report)
    paths = await sharing.own_logs(_paths(settings, run, file))
    suffix = await sharing.own_suffix(settings.workspace.absolute())
    reaper = Reaper()
    resources.callback(reaper.close)
    launcher = InstanceLauncher(
        environments,
        paths,
        reaper,
        InheritedEnv(dict(os.environ), await _find_tcmalloc(executors), suffix),
        pump,
        Hardware(OomKills(), telemetry.gpus),
        executors,
    )

    def observe(instance: Instance, notice: LifecycleEvent) -> None:
        log_notice(instance, notice)
        publisher.instance(instance, notice)
        telemetry.observe(instance, notice)
        if notice is LifecycleEvent.REMOVED:
            store.forget(instance)
            logs.finish(paths.log_file(instance.spec.id))
            _ = pump.ask(partial(pump.forget, paths.log_file(instance.spec.id)))
        else:
            shortfall.entered(instance.spec.id)

    def touched(instance: Instance) -> None:
        board.invalidate()
        store.keep(instance)

    def admitted(spec: InstanceSpec) -> None:
        reloader.admitted(spec)

    def lose_time(seconds: float) -> None:
        fleet.lose_time(seconds)

    attention = Attention(now, heartbeat, lose_time)
    resources.callback(attention.close)
    context = InstanceContext(
        launcher,
        telemetry.prober(),
        attention,
        observe,
        touched,
        telemetry,
        lost=lambda: attention.lost,
        admitted=admitted,
    )
    fleet = Fleet(context, settings.port)
    resources.push_async_callback(bounded, fleet.release, 2 * RELEASE_PATIENCE)

    def reloaded(outcome: ReloadOutcome) -> None:
        publisher.reloaded(outcome)
        shortfall.follow(outcome)

    def write_state() -> None:
        store.write()  # with what is taken on from the file now

    reloader = Reloader(fleet, launcher, settings, file, reloaded, read_file, write_state)
    resources.push_async_callback(bounded, reloader.close, CLEANUP_PATIENCE)
    reloader.applied = dict(recovered.state.applied)
    if settings.autolaunch:
        shortfall.expect(file, reloader.applied)
    store = StateStore(
        state_file, life, lambda: reloader.applied, recovered.state.instances, identity
    )
    environment_service = EnvironmentService(
        environments, settings.workspace.absolute() / "shared-models", executors.environments
    )
    resources.push_async_callback(bounded, environment_service.close, CLEANUP_PATIENCE)
    services = Services(
        fleet=fleet,
        status_board=board,
        clock=now,
        defaults=lambda: settings.defaults,
        guarded=environment_service.guarded if settings.public else _guard_nothing,
        environments=environment_service.look,
        link=environment_service.link,
        restart=restart,
        daemon=lambda: facts,
        troubles=lambda: troubles.sentences,
        shortfall=lambda: shortfall.waiting_for,
        log_file=paths.log_file,
        url=base_url,
        usage=telemetry.usage,
        queue=telemetry.queue,
        journal=journal,
        stream_limit=StreamLimit(EVENT_READERS, EVENT_PATIENCE),
        reload=reloader.reload,
        plan_reload=reloader.plan,
        logs=logs,
        follower_limit=StreamLimit(LOG_FOLLOWERS, LOG_PATIENCE, "too_many_followers"),
        log_reader_limit=StreamLimit(LOG_FOLLOWERS, LOG_PATIENCE),
    )
    resources.push_async_callback(bounded, services.unhurried.close, CLEANUP_PATIENCE)
    watchdog = Watchdog(partial(stalls, executors, pump, fleet, paths.log_file), troubles.report)
    resources.callback(watchdog.close)
    watchdog.start()
    pump.start()
    launcher.settle_outputs(going_on(recovered.state.instances))
    reaper.start()
    telemetry.start(troubles.report)
    return Parts(
        fleet,
        publisher,
        store,
        recovered,
        executors.sweeps,
        telemetry,
        attention,
        lambda: autolaunch(reloader, file, shortfall),
        logs,
        facts,
        make_app(services, _admission(settings), limits_of(settings)),
        troubles,
        StateFile(run.settings),
        partial(unkillable, executors, pump),
    )


def _wrong_environment(mistakes: Sequence[str]) -> str:
    listed = "; ".join(mistakes)
    return f"the last good settings are in use, since the environment is wrong: {listed}"


async def _guard_nothing(_environment: str, _arguments: Sequence[str]) -> str | None:
    """Let callers of this machine pass any argument: the address is not public."""
    return None


def limits_of(settings: Settings) -> Limits:
    """Return the bounds on requests that the settings name."""
    return Limits(
        body_bytes=settings.max_body,
        body_seconds=settings.body_timeout,
        json_depth=settings.max_json_depth,
        idle_seconds=settings.idle_timeout,
        connections=settings.max_connections,
    )


def now() -> Moment:
    """Return this instant."""
    return Moment(time.monotonic(), time.time())


def _paths(settings: Settings, run: RunDirectory, file: InstancesFile) -> Paths:
    logs = file.log_directory or settings.log_dir
    return Paths(run, logs=logs, pids=file.pid_directory or logs)


def _admission(settings: Settings) -> Admission:
    return Admission(is_owner, settings.token, settings.read_token, settings.allowed_hosts)


async def _read_instances_file(settings: Settings, executors: Executors) -> InstancesFile:
    """Read the file by its own rules, also that it cannot be read because a disk hangs."""
    path = settings.instances_file
    read = partial(read_instances_file, path, settings)
    try:
        return await executors.environments.ask(read, str(path), DISK_PATIENCE)
    except OSError as error:  # its disk does not answer, or there is no thread for it
        mistake = ConfigError("", 0, 0, f"cannot read {path}: {error}")
        return InstancesFile(settings.defaults, legible=False, mistakes=(mistake,))


async def _find_tcmalloc(executors: Executors) -> str | None:
    with suppress(OSError):
        return await executors.processes.ask(find_tcmalloc, "ldconfig", DISK_PATIENCE)
    return None


def _milliseconds_since_boot() -> int:
    """Where the ids of a life begin: after those of all earlier ones, with nothing to be kept.

    No clock that somebody sets is in it, and nobody makes a thousand events a second for long.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
