"""What the event loop reports: errors that no task has caught."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import structlog

from comfysup.linux.conditions import Report
from comfysup.linux.process import descriptors
from comfysup.linux.process.pidfd import is_exhaustion

log = structlog.get_logger()

PERIOD: Final = 10.0
"""Seconds between two reports that no descriptor is left, and after which the shortage is over."""

CONDITION: Final = Path("descriptors")


class LoopErrors:
    """The exception handler of an event loop.

    Without descriptors asyncio reports each try to accept a caller, hundreds a second. These
    reports are counted and logged once in `PERIOD`, and `report` hears of the shortage. asyncio
    logs every other error itself.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._times = 0
        self._said: float | None = None
        self._end: asyncio.TimerHandle | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report one error as asyncio gives it (`loop.call_exception_handler`)."""
        error = context.get("exception")
        # asyncio passes the listening socket only for an accept that failed.
        if "socket" in context and isinstance(error, OSError) and is_exhaustion(error):
            self._note(loop, error)
        else:
            loop.default_exception_handler(context)

    def _note(self, loop: asyncio.AbstractEventLoop, error: OSError) -> None:
        self._times += 1
        if self._end is not None:
            self._end.cancel()
        self._end = loop.call_later(PERIOD, self._over)
        now = time.monotonic()
        if self._said is not None and now - self._said < PERIOD:
            return
        limit = descriptors.limit()
        log.error("api.out_of_descriptors", error=error.strerror, limit=limit, times=self._times)
        self._said, self._times = now, 0
        self._report(
            CONDITION,
            f"cannot accept callers: {error.strerror}; comfysup may have {limit} descriptors "
            "(ulimit -n)",
        )

    def _over(self) -> None:
        self._said = self._end = None
        self._report(CONDITION, None)
