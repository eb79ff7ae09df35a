"""What the daemon cannot do at present because of a file.

It cannot be written (a disk is full, read-only, or out of inodes), or what it asks for cannot be
had.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

Report: TypeAlias = Callable[[Path, str | None], None]
"""Is told what is the matter with a file, and None when it is over."""


def to_nobody(_file: Path, _sentence: str | None) -> None:
    """Report nothing."""


class Conditions:
    """A sentence for each file, as long as something is the matter with it."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Begin in a loop without any; `changed` is called in it."""
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._sentences: dict[Path, str] = {}

    @property
    def sentences(self) -> Sequence[str]:
        return list(self._sentences.values())

    @property
    def files(self) -> Sequence[Path]:
        """The files with which something is the matter."""
        return list(self._sentences)

    def report(self, file: Path, sentence: str | None) -> None:
        """Say, in any thread, what is the matter with a file; None when it is over."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._note, file, sentence)

    def _note(self, file: Path, sentence: str | None) -> None:
        if sentence:
            self._sentences[file] = sentence
        elif self._sentences.pop(file, None) is None:
            return
        self._changed()
