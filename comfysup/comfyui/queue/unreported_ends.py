"""An end of a process that an earlier daemon was told of, and had not written into its backlog.

The state file is written first, so that the life of the instance knows of the end.
"""

from dataclasses import dataclass

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.supervision.life import Life, Stuck, Sweeping


@dataclass(frozen=True, slots=True)
class UntoldEnd:
    """How the process of a backlog ended; `ran` is the id of the prompt that it worked on."""

    crashed: bool
    ran: str | None


def untold_end(backlog: Backlog, life: Life) -> UntoldEnd | None:
    """Return how the process ended that a backlog, as it was read from disk, takes for alive.

    None where it lives, or the backlog has nothing of a process that ended. `life` is that of its
    instance as the earlier daemon wrote it down.
    """
    if not _is_of_ended_process(backlog, life):
        return None
    had = {backlog.posted, *backlog.ids}
    end = life.last_exit
    ran = next((each for each in end.prompts if each in had), None) if end else None
    return UntoldEnd(ran is not None and end is not None and not end.expected, ran)


def _is_of_ended_process(backlog: Backlog, life: Life) -> bool:
    if not (backlog.depth or backlog.drained or backlog.posted):
        return False
    match life.state:
        case Sweeping() | Stuck(ended=True):
            return True
        case _ if life.run is None:
            return True
        case _ if backlog.pid is None:  # of one that fell silent: the present one, if that did
            return life.run.reloaded is None
        case _:
            return backlog.pid != life.run.pid
