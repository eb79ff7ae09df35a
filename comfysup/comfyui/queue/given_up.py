"""Why prompts are given up, and how many of an instance are kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from comfysup.comfyui.queue.prompts import MAX_ID_CHARS, Prompt

KEPT_PROMPTS = 2_000
KEPT_BYTES = 32 << 20
"""Maximum bytes of prompts kept per instance in memory and on disk; beyond it only ids are kept."""
TOLD_SINGLY = 500
"""Prompts of one end that are told of one by one: the journal keeps 1,000 events, and each takes a
third of a millisecond in the event loop."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Prompts that will not be run again; `reason` is a word for programs.

    Mostly one. Of several nothing is known but their number: `prompt_id` is None.
    """

    prompt_id: str | None
    reason: str
    message: str
    count: int = 1


NOT_KEPT = (
    "not_kept",
    (
        "more prompts waited than are kept of an instance "
        f"({KEPT_PROMPTS}, {KEPT_BYTES >> 20} MiB), or the id has over {MAX_ID_CHARS} characters"
    ),
)
HELD_KEYS = (
    "held_keys",
    "it contained a key or token, which is never written to disk, and the daemon had been replaced",
)
CREDENTIALS_LOST = (
    "credentials_lost",
    "it needs the keys of a Comfy account, which this ComfyUI does not return",
)
CRASHED_TWICE = ("crashed_twice", "it was running during two crashes")
OVERDUE = ("crashed_twice", "it was running during a crash, and outlasted a drain")
UNWANTED = ("unwanted", "the instance's policy is not to rescue it")
NOT_CHOSEN = ("unwanted", "a caller chose not to rescue it")
UNSEEN = (
    "unseen",
    "ComfyUI accepted them and exited before it returned more than their number",
)
REMOVED = ("removed", "its instance was removed")
ENDED = ("ended", "comfysup was shut down")


def unkept(prompt: Prompt) -> GivenUp:
    """Return why a prompt without its content is given up."""
    return GivenUp(prompt.id, *(HELD_KEYS if prompt.secret else NOT_KEPT))


def grouped(given_up: Sequence[GivenUp]) -> Iterator[GivenUp]:
    """Yield the first `TOLD_SINGLY` unchanged, and the rest grouped by reason."""
    yield from given_up[:TOLD_SINGLY]
    others: Counter[tuple[str, str]] = Counter()
    for each in given_up[TOLD_SINGLY:]:
        others[each.reason, each.message] += each.count
    for (reason, message), count in others.items():
        yield GivenUp(None, reason, message, count)


class Room:
    """How many more prompts, and bytes of them, may be kept."""

    def __init__(self, prompts: int, size: int) -> None:
        self._prompts = prompts
        self._bytes = size

    def keep(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        """Yield the prompts, those for which there is no room without their content."""
        for prompt in prompts:
            self._prompts -= 1
            fits = self._prompts >= 0 and prompt.size <= self._bytes
            if fits:
                self._bytes -= prompt.size
            yield prompt if fits else replace(prompt, content=None, secret=False)
