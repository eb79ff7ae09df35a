"""Backlogs, and the prompts in them."""

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.prompts import Prompt, Snapshot
from comfysup.model.spec import Rescue

ALL = Rescue.ALL


def prompt(number: float, prompt_id: str = "", content: bytes | None = b"[]") -> Prompt:
    return Prompt(number, prompt_id or f"p{number:g}", content)


def queue(*waiting: Prompt, running: Prompt | None = None) -> Snapshot:
    return Snapshot((running,) if running else (), waiting)


def ids(backlog: Backlog) -> list[str]:
    return [each.id for each in backlog.owed]


def crash(backlog: Backlog, rescue: Rescue = ALL) -> tuple[Backlog, list[str]]:
    left, given_up = backlog.lost(rescue, crashed=True)
    return left, [str(each.prompt_id) for each in given_up]


def rescued(backlog: Backlog) -> Backlog:
    """Submit all owed prompts to a process that counts from 0."""
    for number, each in enumerate(backlog.owed):
        backlog = backlog.submitted(each, number)
    return backlog


A, B, C, D = (prompt(number, name) for number, name in enumerate("abcd"))
