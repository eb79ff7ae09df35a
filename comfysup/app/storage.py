"""The files of a daemon: its state, the state of the previous daemon, and the logs."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from comfysup.app.launcher import Paths
from comfysup.app.recovery import RecoveredState, recover_state
from comfysup.app.shared_volume import Sharing
from comfysup.app.state_store import written_identity
from comfysup.comfyui.queue.backlog_store import Storage as BacklogStorage
from comfysup.config.instances_file import InstancesFile, read_instances_file
from comfysup.config.settings import Settings
from comfysup.linux.conditions import Report
from comfysup.linux.executor import Executors
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.heartbeat import Heartbeat
from comfysup.linux.rundir.run_directory import RunDirectory
from comfysup.linux.rundir.state_file import StateFile
from comfysup.logs.files import Rotation
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader
from comfysup.logs.unreported_losses import UnreportedLosses
from comfysup.model.instances_file import ConfigError
from comfysup.supervision.tasks import bounded

DISK_PATIENCE = 10.0
"""Seconds for reading a file, or for running a program, once."""

CLEANUP_PATIENCE = 5.0
"""Seconds for each step of the cleanup; the next step runs after that."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The opened files of a daemon.

    `recovered` is the state of the previous daemon. `instances_file` is instances.json as it was at
    the start. `read_instances_file` reads it again. `backlogs` stores the queues. `suffix` is
    appended to names that contain instance ids; it is empty unless another daemon uses the same
    environments.
    """

    paths: Paths
    state_file: StateFile
    life: BootIdentity
    identity: str
    heartbeat: Heartbeat
    recovered: RecoveredState
    instances_file: InstancesFile
    read_instances_file: Callable[[], Awaitable[InstancesFile]]
    backlogs: BacklogStorage
    suffix: str
    pump: LogPump
    logs: LogReader


async def open_storage(
    settings: Settings,
    run: RunDirectory,
    executors: Executors,
    report: Report,
    resources: AsyncExitStack,
) -> Storage:
    """Read the existing files, and create the log pump; `resources` closes what is opened.

    `report` receives errors of reading and writing.
    """
    read_file = partial(_read_instances_file, settings, executors)
    file = await read_file()
    state_file = StateFile(run.state, report)
    life = BootIdentity.current()
    identity = run.identity(partial(written_identity, state_file))
    heartbeat = Heartbeat(run.heartbeat)
    resources.callback(heartbeat.close)
    recovered = await recover_state(
        state_file, life, identity, settings, executors.processes, run.fifo, heartbeat
    )
    report(state_file.aside, recovered.trouble)
    losses = UnreportedLosses(StateFile(run.path / "losses.json", report))
    pump = LogPump(Rotation(settings.log_max_bytes, settings.log_keep), report, losses)
    resources.push_async_callback(bounded, pump.close, CLEANUP_PATIENCE)
    sharing = Sharing(settings.port, executors.logs, resources, report)
    return Storage(
        paths=await sharing.own_logs(_paths(settings, run, file)),
        state_file=state_file,
        life=life,
        identity=identity,
        heartbeat=heartbeat,
        recovered=recovered,
        instances_file=file,
        read_instances_file=read_file,
        backlogs=BacklogStorage(
            lambda number: StateFile(run.queue(number), report),
            f"{life.boot_id} {life.init_start_time}",
        ),
        suffix=await sharing.own_suffix(settings.workspace.absolute()),
        pump=pump,
        logs=LogReader(pump, executors.logs),
    )


def _paths(settings: Settings, run: RunDirectory, file: InstancesFile) -> Paths:
    logs = file.log_directory or settings.log_dir
    return Paths(run, logs=logs, pids=file.pid_directory or logs)


async def _read_instances_file(settings: Settings, executors: Executors) -> InstancesFile:
    """Read the file; a disk that does not answer results in an error of the file."""
    path = settings.instances_file
    read = partial(read_instances_file, path, settings)
    try:
        return await executors.environments.ask(read, str(path), DISK_PATIENCE)
    except OSError as error:  # its disk does not answer, or no thread is free
        mistake = ConfigError("", 0, 0, f"cannot read {path}: {error}")
        return InstancesFile(settings.defaults, legible=False, mistakes=(mistake,))
