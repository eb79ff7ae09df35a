"""The parts of a daemon, built from its settings and put together. Nothing runs yet but threads."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version

from aiohttp import web

from comfysup.adoption import Recalled, recall
from comfysup.attendance import Attendance
from comfysup.comfyui.allocator import find_tcmalloc
from comfysup.comfyui.command import Surroundings
from comfysup.comfyui.environment import Environment, Environments
from comfysup.comfyui.models_link import LinkReport, link_models
from comfysup.comfyui.probe import new_session
from comfysup.launcher import Hardware, InstanceLauncher, Places
from comfysup.notices import log_notice
from comfysup.reload import Reloader
from comfysup.settings import Settings
from comfysup.settings.instances_file import InstancesFile, read_instances_file
from comfysup.state import Keeper
from comfysup.supervision.events import Notice
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.journal import Journal
from comfysup.supervision.life import Moment
from comfysup.supervision.world import World
from comfysup.system.cgroup import OomKills
from comfysup.system.container_life import ContainerLife
from comfysup.system.disk_threads import DiskThreads
from comfysup.system.log_files import Rotation
from comfysup.system.log_pump import LogPump
from comfysup.system.log_reader import LogReader
from comfysup.system.peer import is_owner
from comfysup.system.reaper import Reaper
from comfysup.system.run_directory import RunDirectory
from comfysup.system.state_file import StateFile
from comfysup.web.announcer import Announcer
from comfysup.web.app import make_app
from comfysup.web.audience import Audience
from comfysup.web.limits import Limits
from comfysup.web.presentation import present
from comfysup.web.security import Admission
from comfysup.web.services import DaemonFacts, Services
from comfysup.web.status_board import StatusBoard

EVENT_READERS = 256
EVENT_PATIENCE = 30.0
"""How many may follow the events, and the seconds after which one that takes nothing must go."""

LOG_FOLLOWERS = 64
LOG_PATIENCE = 600.0
"""The same for logs; people stop a terminal to read, and go on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon works with. `recalled` is what the one before it left."""

    fleet: Fleet
    announcer: Announcer
    keeper: Keeper
    reloader: Reloader
    file: InstancesFile
    recalled: Recalled
    attendance: Attendance
    identity: str
    logs: LogReader
    facts: DaemonFacts
    app: web.Application


async def assemble(  # noqa: PLR0915 - a statement for each part, in the order of their needs
    settings: Settings,
    run: RunDirectory,
    restart: Callable[[], None],
    resources: AsyncExitStack,
) -> Parts:
    """Build all parts; what must be closed is given to `resources`.

    `restart` lets the daemon start anew.
    """
    file = read_instances_file(settings.instances_file, settings)
    logs_directory = file.log_directory or settings.log_dir
    places = Places(run, logs=logs_directory, pids=file.pid_directory or logs_directory)
    identity = run.identity()
    state_file = StateFile(run.state)
    life = ContainerLife.current()
    recalled = recall(state_file, life, identity, settings)
    reaper = Reaper()
    environments = Environments(settings.workspace)
    disk = DiskThreads()
    resources.callback(disk.close)
    pump, logs = _log_system(settings, disk, resources)
    surroundings = Surroundings(dict(os.environ), preload=find_tcmalloc())
    board = StatusBoard()
    journal = Journal(_milliseconds_since_boot())
    announcer = Announcer(journal, now, lambda instance: present(instance, services))
    attendance = Attendance(
        session=await resources.enter_async_context(new_session()),
        disk=disk,
        directory=run.path / "queue",
        life=f"{life.boot_id} {life.init_start_time}",
        tell=announcer.prompt,
        changed=board.invalidate,
        instances=lambda: fleet,
    )
    resources.push_async_callback(attendance.close)
    await attendance.queues.load(record.spec.id for record in recalled.state.instances)
    hardware = Hardware(OomKills(), attendance.gpus)
    launcher = InstanceLauncher(environments, places, reaper, surroundings, pump, logs, hardware)

    def observe(instance: Instance, notice: Notice) -> None:
        log_notice(instance, notice)
        announcer.instance(instance, notice)
        attendance.observe(instance, notice)
        if notice is Notice.REMOVED:
            keeper.forget(instance)

    def touched(instance: Instance) -> None:
        board.invalidate()
        keeper.keep(instance)

    world = World(launcher, attendance.prober(), now, observe, touched, attendance)
    fleet = Fleet(world, settings.port)
    resources.push_async_callback(fleet.release)
    reloader = Reloader(fleet, launcher, settings, file, announcer.reloaded)
    reloader.applied = dict(recalled.state.applied)
    keeper = Keeper(state_file, life, lambda: reloader.applied)
    facts = DaemonFacts(version("comfysup"), os.getpid(), now(), settings.shown())
    services = _services(
        settings,
        fleet,
        environments,
        places,
        board,
        announcer,
        reloader,
        logs,
        facts,
        attendance,
        disk,
        restart,
    )
    reaper.start()
    attendance.start()
    app = make_app(services, _admission(settings), limits_of(settings))
    return Parts(
        fleet, announcer, keeper, reloader, file, recalled, attendance, identity, logs, facts, app
    )


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


def _log_system(
    settings: Settings, disk: DiskThreads, resources: AsyncExitStack
) -> tuple[LogPump, LogReader]:
    """Start the threads that write logs, and those that read them."""
    pump = LogPump(Rotation(settings.log_max_bytes, settings.log_keep))
    pump.start()
    resources.push_async_callback(pump.close)
    disk = DiskThreads()
    resources.callback(disk.close)
    return pump, LogReader(pump, disk)


def _admission(settings: Settings) -> Admission:
    return Admission(is_owner, settings.token, settings.read_token, settings.allowed_hosts)


def _services(  # noqa: PLR0913, PLR0917 - the routes are given all that they show
    settings: Settings,
    fleet: Fleet,
    environments: Environments,
    places: Places,
    board: StatusBoard,
    announcer: Announcer,
    reloader: Reloader,
    logs: LogReader,
    facts: DaemonFacts,
    attendance: Attendance,
    disk: DiskThreads,
    restart: Callable[[], None],
) -> Services:
    linking = asyncio.Lock()

    async def looked_up() -> Sequence[Environment]:
        return await asyncio.to_thread(environments.all)

    async def link(name: str) -> LinkReport:
        path = environments.find(name).path
        with environments.closed(name, "its models are being linked"):
            async with linking:
                shared = settings.workspace.absolute() / "shared-models"
                return await disk.ask(lambda: link_models(path, shared))

    return Services(
        fleet=fleet,
        status_board=board,
        clock=now,
        defaults=lambda: settings.defaults,
        environments=looked_up,
        link=link,
        restart=restart,
        daemon=lambda: facts,
        log_file=places.log_file,
        usage=attendance.usage,
        queue=attendance.queue,
        journal=announcer.journal,
        audience=Audience(EVENT_READERS, EVENT_PATIENCE),
        reload=reloader.reload,
        logs=logs,
        log_audience=Audience(LOG_FOLLOWERS, LOG_PATIENCE, "too_many_followers"),
    )


def _milliseconds_since_boot() -> int:
    """Where the ids of a life begin: after those of all earlier ones, with nothing to be kept.

    No clock that somebody sets is in it, and nobody makes a thousand events a second for long.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
