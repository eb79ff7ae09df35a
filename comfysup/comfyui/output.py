"""What the output of a ComfyUI tells of its prompts."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from comfysup.comfyui.diagnosis.line_kinds import bare

EXECUTED = b"Prompt executed in "
"""Stands in the line that ComfyUI writes when a prompt has ended, before it takes the next one."""
_EXECUTED = re.compile(r"Prompt executed in (?:[\d.]+ seconds|[\d:]+)$")


class Output(Protocol):
    """What the processes of one instance write; each method takes a bounded time.

    They raise nothing.
    """

    async def mark(self) -> str:
        """Return where the output ends now; empty where that cannot be told."""

    async def lines_with(self, text: bytes, since: str) -> Sequence[str]:
        """Return the lines behind that mark that hold the text, of a last part at least."""


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
    """Return how many prompts have ended, well or not, by what a process wrote."""
    return sum(_EXECUTED.search(bare(line)) is not None for line in lines)
