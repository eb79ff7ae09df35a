"""ComfyUI's output about executed prompts, and its queue as derived from that."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from comfysup.comfyui.diagnosis.line_kinds import bare
from comfysup.comfyui.queue.backlog import Backlog
from comfysup.supervision.life import Life, Stuck, Sweeping

PROMPT = b"rompt"
"""Part of every line that ComfyUI writes when it accepts, refuses or ends a prompt."""

EXECUTED = b"Prompt executed in "
"""Part of the line that ComfyUI writes when a prompt has ended, before it takes the next."""
_EXECUTED = re.compile(r"Prompt executed in (?:[\d.]+ seconds|[\d:]+)$")


class Output(Protocol):
    """What the processes of one instance write; each method takes a bounded time.

    They raise nothing.
    """

    async def mark(self) -> str:
        """Return a mark for the current end of the output, or "" if it is unknown."""

    async def lines_with(self, text: bytes, since: str) -> Sequence[str]:
        """Return the lines after that mark that contain the text, at least of the last part."""


def unfinished_in(lines: Iterable[str]) -> int:
    """Return how many prompts a process had accepted and not finished, by what it wrote.

    At least: lines before these may tell of more.
    """
    unfinished = 0
    for line in lines:
        if "got prompt" in line:
            unfinished += 1
        elif "invalid prompt:" in line or "Prompt executed in" in line:
            unfinished = max(0, unfinished - 1)
    return unfinished


def executions_in(lines: Iterable[str]) -> int:
    """Return how many prompts have ended, successfully or not, by a process' output."""
    return sum(_EXECUTED.search(bare(line)) is not None for line in lines)


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
    had = {backlog.unconfirmed, *backlog.ids}
    end = life.last_exit
    ran = next((each for each in end.prompts if each in had), None) if end else None
    return UntoldEnd(ran is not None and end is not None and not end.expected, ran)


def _is_of_ended_process(backlog: Backlog, life: Life) -> bool:
    if not (backlog.depth or backlog.drained or backlog.unconfirmed):
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
