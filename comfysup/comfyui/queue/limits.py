"""How much of the prompts of one instance is kept."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from comfysup.comfyui.queue.prompts import Prompt


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
