"""A daemon that records the time of each phase: `python -m benchmarks.traced serve`.

At exit it writes the records as JSON to the file named by BENCH_NOTES, each a pair of phase and
nanoseconds of the monotonic clock. Recording takes half a microsecond.
"""

import atexit
import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from comfysup.app import instance_process, launcher
from comfysup.cli import main
from comfysup.comfyui.environment.workspace import Environments
from comfysup.linux.process.pidfd import Pidfd
from comfysup.linux.process.process import Process
from comfysup.linux.process.sweep import Sweep
from comfysup.linux.rundir.pid_file import PidFile
from comfysup.linux.rundir.state_file import StateFile
from comfysup.logs.pipe import LogPipe
from comfysup.supervision import instance

P = ParamSpec("P")
R = TypeVar("R")

ENTERED: Sequence[tuple[object, str, str]] = (
    (Pidfd, "peek", "exit detected"),
    (instance_process, "diagnose", "pipe drained, end of the log read"),
    (Process, "spawn", "log opened"),
)
LEFT: Sequence[tuple[object, str, str]] = (
    (instance_process, "diagnose", "exit diagnosed"),
    (instance, "step", "transition computed"),
    (StateFile, "write", "state file written"),
    (Sweep, "turn", "no descendant left"),
    (PidFile, "remove", "FIFO and PID file removed"),
    (Environments, "find", "environment checked"),
    (launcher, "port_is_free", "port checked"),
    (launcher, "build_command", "command built"),
    (LogPipe, "open_for_instance", "FIFO created"),
)

notes: list[tuple[str, int]] = []


def trace() -> None:
    """Record all phases from now on."""
    for owner, name, place in ENTERED:
        setattr(owner, name, _entered(getattr(owner, name), place))
    for owner, name, place in LEFT:
        setattr(owner, name, _left(getattr(owner, name), place))
    file = Path(os.environ["BENCH_NOTES"])
    atexit.register(lambda: file.write_text(json.dumps(notes)))


def _entered(function: Callable[P, R], place: str) -> Callable[P, R]:
    @functools.wraps(function)
    def recording(*args: P.args, **kwargs: P.kwargs) -> R:
        notes.append((place, time.monotonic_ns()))
        return function(*args, **kwargs)

    return recording


def _left(function: Callable[P, R], place: str) -> Callable[P, R]:
    @functools.wraps(function)
    def recording(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        notes.append((place, time.monotonic_ns()))
        return result

    return recording


if __name__ == "__main__":
    trace()
    main()
