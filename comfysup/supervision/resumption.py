"""Resumes an instance in the state that an earlier daemon left."""

from collections.abc import Callable
from signal import Signals

from comfysup.supervision.generation import Generation
from comfysup.supervision.life import (
    Aborting,
    Backoff,
    Draining,
    Failed,
    Launching,
    Life,
    Running,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Sweeping,
)
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.stop_escalation import StopStage


def resume(
    life: Life,
    generation: Generation,
    process: ProcessRecord | None,
    watch: Callable[[bool], None],
) -> bool:
    """Resume the tasks for the state of `life`; return whether a process was adopted.

    `watch` starts the monitor, and takes whether the process was ready.
    """
    match life.state:
        case Stopped() | Backoff() | Failed():
            return False
        case Launching():
            generation.resume_launch(wanted=True)
            return False
        case Aborting():
            generation.resume_launch(wanted=False)
            return False
        case Starting() | Running() | Draining() | Stopping() | Stuck(ended=False) if process:
            generation.adopt(process, ended=False)
        case Sweeping() | Stuck() if process:
            generation.adopt(process, ended=True)
        case _:
            pass
    _go_on(life, generation, watch)
    return True


def _go_on(life: Life, generation: Generation, watch: Callable[[bool], None]) -> None:
    match life.state:
        case Starting():
            watch(False)  # noqa: FBT003 - not ready
        case Running():
            watch(True)  # noqa: FBT003 - ready
        case Draining():
            watch(True)  # noqa: FBT003 - ready
            generation.drain()
        case Stopping(stop_stage=(StopStage.TERMINATED | StopStage.KILLED) as stop_stage):
            # The state is written before its signal is sent. SIGINT must not be sent twice.
            generation.signal(stop_stage.signal)
        case Stuck(ended=False):
            generation.signal(Signals.SIGKILL)
        case Sweeping() | Stuck():
            generation.sweep()
        case _:
            pass
