"""A daemon that notes when it passes certain places: `python -m benchmarks.traced serve`.

The notes are (place, nanoseconds of the monotonic clock) in JSON, written at its end into the file
that BENCH_NOTES names. A note costs half a microsecond.
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
from comfysup.linux.process.tree import ProcessTree
from comfysup.linux.rundir.pid_file import PidFile
from comfysup.linux.rundir.state_file import StateFile
from comfysup.logs.pipe import LogPipe
from comfysup.supervision import instance

P = ParamSpec("P")
R = TypeVar("R")

ENTERED: Sequence[tuple[object, str, str]] = (
    (Pidfd, "peek", "the death is seen"),
    (instance_process, "diagnose", "its pipe is drained, and the log's end read"),
    (Process, "spawn", "its log is open"),
)
LEFT: Sequence[tuple[object, str, str]] = (
    (instance_process, "diagnose", "the reason is known"),
    (instance, "step", "what follows is decided"),
    (StateFile, "write", "that is written down"),
    (ProcessTree, "orphans", "no descendant is left"),
    (PidFile, "remove", "pipe and PID file are gone"),
    (Environments, "find", "the environment is looked at"),
    (launcher, "port_is_free", "the port is checked"),
    (launcher, "build_command", "the command is built"),
    (LogPipe, "open_for_instance", "the FIFO is made"),
)

notes: list[tuple[str, int]] = []


def trace() -> None:
    """Note all places from now on."""
    for owner, name, place in ENTERED:
        setattr(owner, name, _entered(getattr(owner, name), place))
    for owner, name, place in LEFT:
        setattr(owner, name, _left(getattr(owner, name), place))
    file = Path(os.environ["BENCH_NOTES"])
    atexit.register(lambda: file.write_text(json.dumps(notes)))


def _entered(function: Callable[P, R], place: str) -> Callable[P, R]:
    @functools.wraps(function)
    def noting(*args: P.args, **kwargs: P.kwargs) -> R:
        notes.append((place, time.monotonic_ns()))
        return function(*args, **kwargs)

    return noting


def _left(function: Callable[P, R], place: str) -> Callable[P, R]:
    @functools.wraps(function)
    def noting(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        notes.append((place, time.monotonic_ns()))
        return result

    return noting


if __name__ == "__main__":
    trace()
    main()
