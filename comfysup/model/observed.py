"""Observed values of an instance: its usage, queue, prompt events and log lines.

The API returns `Usage` unchanged.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class GpuUsage:
    """The memory that torch has reserved on one GPU; `index` is the driver's index."""

    index: int
    """index of the GPU in the driver"""
    memory_bytes: int
    """memory reserved by torch"""


@dataclass(frozen=True)
class Usage:
    """The usage of a process and its descendants; 100 per cent is one core.

    Memory that processes share is counted for each of them, as in `top`.
    """

    cpu_percent: float
    """100 corresponds to one core"""
    rss_bytes: int
    """resident memory of its processes, in bytes"""
    processes: int
    """number of its processes"""
    gpus: tuple[GpuUsage, ...] = ()
    """empty if none is known"""


@dataclass(frozen=True, slots=True)
class ActivePrompt:
    """A prompt that is being executed; `since` is wall-clock seconds."""

    id: str
    since: float


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue of one instance as it was last read."""

    pending: int
    running_prompts: tuple[ActivePrompt, ...]


class PromptEventName(StrEnum):
    """The names of events about prompts."""

    RESCUED = "prompt.rescued"
    GIVEN_UP = "prompt.given_up"


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """An event of prompts whose process exited; `reason` and `message` are set if given up.

    An event usually concerns one prompt. For several prompts, or if only their number is known,
    `prompt_id` is None and `count` is their number.
    """

    name: PromptEventName
    prompt_id: str | None
    reason: str | None = None
    message: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class LineBatch:
    """New log output: whole lines, and the beginning of the next one.

    `text` has line ends between and after the lines. A line over 64 kB comes in parts without one.
    `place` is the position after the last whole line, empty if there is none.
    """

    text: str
    unfinished: str
    place: str
