"""What is observed of an instance: its usage, its queue, the ends of its prompts, its log.

The API shows `Usage` as it stands.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class GpuUsage:
    """The memory that torch has reserved of one GPU; `index` as the driver counts GPUs."""

    index: int
    memory_bytes: int


@dataclass(frozen=True)
class Usage:
    """What a process and all that descends from it use; 100 per cent are one core.

    Memory that processes share is counted for each of them, as `top` does.
    """

    cpu_percent: float
    rss_bytes: int
    processes: int
    gpus: tuple[GpuUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivePrompt:
    """A prompt that is being worked on; `since` is wall-clock seconds."""

    id: str
    since: float


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue of one instance as it was last seen."""

    pending: int
    running_prompts: tuple[ActivePrompt, ...]


class PromptEventName(StrEnum):
    """The events that tell of prompts."""

    RESCUED = "prompt.rescued"
    GIVEN_UP = "prompt.given_up"


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """What became of prompts whose process has ended; `reason` and `message` where given up.

    Mostly of one. Of many at a time, or where only their number is known, `prompt_id` is None and
    `count` tells how many.
    """

    name: PromptEventName
    prompt_id: str | None
    reason: str | None = None
    message: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class LineBatch:
    """What has come: whole lines, and what stands of the next one.

    `text` has the line ends between and behind the lines; a line over 64 kB comes in parts without
    one. `place` is behind the last whole line, and empty where there is none.
    """

    text: str
    unfinished: str
    place: str
