"""Problems with files that limit the daemon.

A file cannot be written (disk full, read-only, out of inodes), or a request in it cannot be
fulfilled.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

Report: TypeAlias = Callable[[Path, str | None], None]
"""Receives a file and the sentence for its problem, or None when the problem is over."""


def to_nobody(_file: Path, _sentence: str | None) -> None:
    """Discard the report."""


class Conditions:
    """The current problem of each file, as a sentence."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Bind to the running event loop, in which each change calls `changed`."""
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._sentences: dict[Path, str] = {}

    @property
    def sentences(self) -> Sequence[str]:
        return list(self._sentences.values())

    @property
    def files(self) -> Sequence[Path]:
        """The files that have a problem."""
        return list(self._sentences)

    def report(self, file: Path, sentence: str | None) -> None:
        """Set the problem of a file, or clear it with None. Thread-safe."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._note, file, sentence)

    def _note(self, file: Path, sentence: str | None) -> None:
        if sentence:
            self._sentences[file] = sentence
        elif self._sentences.pop(file, None) is None:
            return
        self._changed()
