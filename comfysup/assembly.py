"""The parts of a daemon, built from its settings and put together. Nothing runs yet but threads."""

import os
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from aiohttp import web

from comfysup.adoption import Recalled, recall
from comfysup.attendance import Attendance
from comfysup.autolaunch import autolaunch, shortfall
from comfysup.comfyui.allocator import find_tcmalloc
from comfysup.comfyui.command import Surroundings
from comfysup.comfyui.environment import Environments
from comfysup.comfyui.probe import new_session
from comfysup.launcher import Hardware, InstanceLauncher, Places
from comfysup.notices import log_notice
from comfysup.reload import Failure, Outcome, Reloader
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
from comfysup.system.troubles import Troubles
from comfysup.web.announcer import Announcer
from comfysup.web.app import make_app
from comfysup.web.audience import Audience
from comfysup.web.limits import Limits
from comfysup.web.presentation import present
from comfysup.web.security import Admission
from comfysup.web.services import DaemonFacts, Services
from comfysup.web.status_board import StatusBoard
from comfysup.workshop import Workshop

EVENT_READERS = 256
EVENT_PATIENCE = 30.0
"""How many may follow the events, and the seconds after which one that takes nothing must go."""

LOG_FOLLOWERS = 64
LOG_PATIENCE = 600.0
"""The same for logs; people stop a terminal to read, and go on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon works with. `recalled` is what the one before it left.

    `autolaunch` starts what instances.json names.
    """

    fleet: Fleet
    announcer: Announcer
    keeper: Keeper
    recalled: Recalled
    attendance: Attendance
    identity: str
    autolaunch: Callable[[], Coroutine[None, None, None]]
    logs: LogReader
    facts: DaemonFacts
    app: web.Application


async def assemble(  # noqa: PLR0915 - a statement for each part
    settings: Settings,
    run: RunDirectory,
    restart: Callable[[], None],
    resources: AsyncExitStack,
) -> Parts:
    """Build all parts, in the order of their needs; what must be closed is given to `resources`.

    `restart` lets the daemon start anew.
    """
    board = StatusBoard()
    journal = Journal(_milliseconds_since_boot())
    announcer = Announcer(journal, now, lambda instance: present(instance, services))
    facts = DaemonFacts(version("comfysup"), os.getpid(), now(), settings.shown())

    def tell_of_troubles() -> None:
        board.invalidate()
        announcer.troubles(facts, troubles.sentences)

    troubles = Troubles(tell_of_troubles)
    file = read_instances_file(settings.instances_file, settings)
    state_file = StateFile(run.state, troubles.report)
    life = ContainerLife.current()
    recalled = recall(state_file, life, run.identity(), settings)
    # Logs and environments may lie on a volume that stalls, which must not hold up the rest.
    disk, volume = DiskThreads(), DiskThreads()
    resources.callback(disk.close)
    resources.callback(volume.close)
    attendance = Attendance(
        session=await resources.enter_async_context(new_session()),
        disk=disk,
        store=lambda number: StateFile(run.queue(number), troubles.report),
        life=f"{life.boot_id} {life.init_start_time}",
        tell=announcer.prompt,
        changed=board.invalidate,
        instances=lambda: fleet,
    )
    resources.push_async_callback(attendance.close)
    await attendance.queues.load(record.spec.id for record in recalled.state.instances)
    pump = LogPump(Rotation(settings.log_max_bytes, settings.log_keep), troubles.report)
    resources.push_async_callback(pump.close)
    logs = LogReader(pump, volume)
    environments = Environments(settings.workspace)
    places = _places(settings, run, file)
    reaper = Reaper()
    launcher = InstanceLauncher(
        environments,
        places,
        reaper,
        Surroundings(dict(os.environ), preload=find_tcmalloc()),
        pump,
        Hardware(OomKills(), attendance.gpus),
    )

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

    def tell_of_shortfall(mistakes: int, failures: Sequence[Failure]) -> None:
        path = settings.instances_file
        troubles.report(path, shortfall(path, mistakes, failures))

    def reloaded(outcome: Outcome) -> None:
        announcer.reloaded(outcome)
        tell_of_shortfall(len(outcome.mistakes), outcome.failed)

    reloader = Reloader(fleet, launcher, settings, file, reloaded)
    reloader.applied = dict(recalled.state.applied)
    keeper = Keeper(state_file, life, lambda: reloader.applied, recalled.state.instances)
    workshop = Workshop(environments, settings.workspace.absolute() / "shared-models", volume)
    services = Services(
        fleet=fleet,
        status_board=board,
        clock=now,
        defaults=lambda: settings.defaults,
        environments=workshop.look,
        link=workshop.link,
        restart=restart,
        daemon=lambda: facts,
        troubles=lambda: troubles.sentences,
        log_file=places.log_file,
        usage=attendance.usage,
        queue=attendance.queue,
        journal=journal,
        audience=Audience(EVENT_READERS, EVENT_PATIENCE),
        reload=reloader.reload,
        logs=logs,
        log_audience=Audience(LOG_FOLLOWERS, LOG_PATIENCE, "too_many_followers"),
    )
    app = make_app(services, _admission(settings), limits_of(settings))
    pump.start()
    reaper.start()
    attendance.start()
    return Parts(
        fleet,
        announcer,
        keeper,
        recalled,
        attendance,
        run.identity(),
        lambda: autolaunch(reloader, file, partial(tell_of_shortfall, len(file.mistakes))),
        logs,
        facts,
        app,
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


def _places(settings: Settings, run: RunDirectory, file: InstancesFile) -> Places:
    logs = file.log_directory or settings.log_dir
    return Places(run, logs=logs, pids=file.pid_directory or logs)


def _admission(settings: Settings) -> Admission:
    return Admission(is_owner, settings.token, settings.read_token, settings.allowed_hosts)


def _milliseconds_since_boot() -> int:
    """Where the ids of a life begin: after those of all earlier ones, with nothing to be kept.

    No clock that somebody sets is in it, and nobody makes a thousand events a second for long.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
