"""Builds the instances of a daemon and the parts that supervise them."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial

from comfysup.app.environments import EnvironmentService
from comfysup.app.launcher import Hardware, InstanceLauncher
from comfysup.app.reload.reloader import Reloader
from comfysup.app.reporting import Reporting, log_notice, now
from comfysup.app.state_store import StateStore
from comfysup.app.storage import CLEANUP_PATIENCE, DISK_PATIENCE, Storage
from comfysup.app.telemetry import Telemetry
from comfysup.comfyui.client import new_session
from comfysup.comfyui.command import InheritedEnv, find_tcmalloc
from comfysup.comfyui.environment.workspace import Environments
from comfysup.config.settings import Settings
from comfysup.linux.executor import Executors
from comfysup.linux.host.memory_kills import OomKills
from comfysup.linux.process.reaper import Reaper
from comfysup.logs.output import LogOutput
from comfysup.model.instances_file import ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.attention import Attention
from comfysup.supervision.fleet import RELEASE_PATIENCE, Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.protocols import InstanceContext
from comfysup.supervision.tasks import bounded


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The table of instances, and the parts that work on it."""

    fleet: Fleet
    store: StateStore
    reloader: Reloader
    telemetry: Telemetry
    attention: Attention
    launcher: InstanceLauncher
    reaper: Reaper
    environments: EnvironmentService


async def make_supervisor(
    settings: Settings,
    storage: Storage,
    reporting: Reporting,
    executors: Executors,
    resources: AsyncExitStack,
) -> Supervisor:
    """Build the parts with an empty table; `resources` closes them."""

    def applied() -> Mapping[int, InstanceSpec]:
        return reloader.applied

    def admitted(spec: InstanceSpec) -> None:
        reloader.admitted(spec)

    def lose_time(seconds: float) -> None:
        fleet.lose_time(seconds)

    store = StateStore(
        storage.state_file,
        storage.life,
        applied,
        storage.recovered.state.instances,
        storage.identity,
    )
    telemetry = await _make_telemetry(storage, reporting, executors, resources, lambda: fleet)
    environments = Environments(settings.workspace)
    reaper = Reaper()
    resources.callback(reaper.close)
    launcher = await _make_launcher(environments, storage, telemetry, reaper, executors)
    attention = Attention(now, storage.heartbeat, lose_time)
    resources.callback(attention.close)
    observer = _Observer(storage, reporting, telemetry, store)
    context = InstanceContext(
        launcher,
        telemetry.prober(),
        attention,
        observer.observe,
        observer.touched,
        telemetry,
        lost=lambda: attention.lost,
        admitted=admitted,
    )
    fleet = Fleet(context, settings.port)
    resources.push_async_callback(bounded, fleet.release, 2 * RELEASE_PATIENCE)
    reloader = _make_reloader(settings, storage, reporting, fleet, launcher, store)
    resources.push_async_callback(bounded, reloader.close, CLEANUP_PATIENCE)
    shared_models = settings.workspace.absolute() / "shared-models"
    service = EnvironmentService(environments, shared_models, executors.environments)
    resources.push_async_callback(bounded, service.close, CLEANUP_PATIENCE)
    return Supervisor(fleet, store, reloader, telemetry, attention, launcher, reaper, service)


@dataclass(frozen=True, slots=True)
class _Observer:
    """Forwards the events of each instance to the reporting parts."""

    storage: Storage
    reporting: Reporting
    telemetry: Telemetry
    store: StateStore

    def observe(self, instance: Instance, notice: LifecycleEvent) -> None:
        log_notice(instance, notice)
        self.reporting.publisher.instance(instance, notice)
        self.telemetry.observe(instance, notice)
        if notice is LifecycleEvent.REMOVED:
            log_file, pump = self.storage.paths.log_file(instance.spec.id), self.storage.pump
            self.store.forget(instance)
            self.storage.logs.finish(log_file)
            _ = pump.ask(partial(pump.forget, log_file))
        else:
            self.reporting.shortfall.entered(instance.spec.id)

    def touched(self, instance: Instance) -> None:
        self.reporting.board.invalidate()
        self.store.keep(instance)


async def _make_telemetry(
    storage: Storage,
    reporting: Reporting,
    executors: Executors,
    resources: AsyncExitStack,
    instances: Callable[[], Iterable[Instance]],
) -> Telemetry:
    telemetry = Telemetry(
        session=await resources.enter_async_context(new_session()),
        executors=executors,
        storage=storage.backlogs,
        tell=reporting.publisher.prompt,
        changed=reporting.board.invalidate,
        output=lambda number: LogOutput(storage.pump, storage.paths.log_file(number)),
        instances=instances,
    )
    resources.push_async_callback(bounded, telemetry.close, CLEANUP_PATIENCE)
    await telemetry.queues.load(record.spec.id for record in storage.recovered.state.instances)
    return telemetry


async def _make_launcher(
    environments: Environments,
    storage: Storage,
    telemetry: Telemetry,
    reaper: Reaper,
    executors: Executors,
) -> InstanceLauncher:
    return InstanceLauncher(
        environments,
        storage.paths,
        reaper,
        InheritedEnv(dict(os.environ), await _find_tcmalloc(executors), storage.suffix),
        storage.pump,
        Hardware(OomKills(), telemetry.gpus),
        executors,
    )


def _make_reloader(
    settings: Settings,
    storage: Storage,
    reporting: Reporting,
    fleet: Fleet,
    checks: InstanceLauncher,
    store: StateStore,
) -> Reloader:
    def reloaded(outcome: ReloadOutcome) -> None:
        reporting.publisher.reloaded(outcome)
        reporting.shortfall.follow(outcome)

    file = storage.instances_file
    reloader = Reloader(
        fleet,
        checks,
        settings,
        file,
        reloaded,
        storage.read_instances_file,
        store.write,  # with the entries that are applied now
    )
    reloader.applied = dict(storage.recovered.state.applied)
    if settings.autolaunch:
        reporting.shortfall.expect(file, reloader.applied)
    records = storage.recovered.state.instances
    reporting.shortfall.expect_back([each.spec for each in records if each.returning], file)
    return reloader


async def _find_tcmalloc(executors: Executors) -> str | None:
    with suppress(OSError):
        return await executors.processes.ask(find_tcmalloc, "ldconfig", DISK_PATIENCE)
    return None
