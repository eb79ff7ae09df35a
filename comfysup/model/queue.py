"""The queue of an instance as others see it, and what became of its prompts."""

from dataclasses import dataclass
from enum import StrEnum


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
