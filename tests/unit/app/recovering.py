"""Processes that look like instances, and their recovery."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from comfysup.app.recovery import RecoveredState, recover_state
from comfysup.config.settings import Settings
from comfysup.linux.executor import Executor
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.process.proc import all_pids, read_marker
from comfysup.linux.process.tree import Found, marked
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Life, Moment, Run, Running
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord, dump

LIFE = BootIdentity("boot", 17)
SETTINGS = Settings.from_environ({}, uid=0)
SLEEP = "import time; time.sleep(60)"

Launch = Callable[..., subprocess.Popen[bytes]]


def seen(word: str) -> dict[str, list[Found]]:
    """Return the running processes whose marker begins with that identity."""
    markers = {pid: marker for pid in all_pids() if (marker := read_marker(pid))}
    return marked(word, markers)


def fifo_in(file: StateFile) -> Callable[[int, int], Path]:
    return lambda instance, generation: file.path.with_name(f"{instance}.{generation}")


async def recovered_from(file: StateFile, word: str) -> RecoveredState:
    processes = Executor("/proc")
    try:
        return await recover_state(file, LIFE, word, SETTINGS, processes, fifo_in(file))
    finally:
        processes.shutdown()


OPTIONS = ("--listen", "0.0.0.0", "--port", "3007")  # noqa: S104 - what an instance is given


def written(file: StateFile, *records: InstanceRecord) -> StateFile:
    """Write a valid state file of this boot with those records."""
    state = {"version": 1, **asdict(LIFE), "applied": [], "instances": [*map(dump, records)]}
    file.write(json.dumps(state).encode())
    return file


def record_of(spec: InstanceSpec, generation: int, pid: int = 1) -> InstanceRecord:
    running = Running(Run(pid, Moment(0.0, 0.0)), None)
    life = Life(running, generation, restarts=3)
    return InstanceRecord(spec, spec, life, ProcessRecord(pid, 1))
