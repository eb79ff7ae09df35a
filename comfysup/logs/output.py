"""The output of an instance's present process, searched from a mark in its log."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from comfysup.logs.pipe import PATIENCE, PIPE_BYTES
from comfysup.logs.pump import LogPump
from comfysup.logs.resume_token import ResumeToken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogOutput:
    """The output of one instance in its log; no method waits longer than `PATIENCE`."""

    pump: LogPump
    log_file: Path

    async def mark(self) -> str:
        """Return the present end of the output, including the bytes in the FIFO.

        Empty if no process writes to the log, if the log takes no bytes, or if it stalls.
        """
        place = await self._ask(partial(self.pump.mark, self.log_file, PIPE_BYTES))
        return str(place) if place else ""

    async def lines_with(self, text: bytes, since: str) -> list[str]:
        """Return the lines after the mark that contain the text, within the last megabyte.

        Empty if the log stalls, or if `since` is not a mark.
        """
        place = ResumeToken.parse(since)
        if place is None:
            return []
        return await self._ask(partial(self.pump.lines_with, self.log_file, text, place)) or []

    async def _ask(self, work: Callable[[], T]) -> T | None:
        try:
            done = self.pump.ask(work, self.log_file)
        except OSError:  # the pump is closed
            return None
        await asyncio.wait([done], timeout=PATIENCE)
        return done.result() if done.done() else None
