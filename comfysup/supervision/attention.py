"""The clock of supervision, which detects gaps in which the daemon did not run.

The daemon does not run while it is stopped (SIGSTOP, `docker pause`) or while its event loop is
blocked. An instance may have met a deadline during such a gap, or may have been paused too. So the
seconds of a gap count towards no deadline. The time between two daemons is also a gap. The next
daemon reads its length from the file of `Heartbeat`.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from comfysup.supervision.life import Moment

log = structlog.get_logger()

BEAT: Final = 0.5
"""Seconds between two heartbeats of the event loop."""

GAP: Final = 1.5
"""Seconds without a reading of the clock that count as a gap."""


class Pulse(Protocol):
    """Stores the time of the last heartbeat for the next daemon."""

    def beat(self, monotonic: float) -> None:
        """Store `monotonic` as the time of the last heartbeat. Raises nothing."""


class Attention:
    """Returns the current time and detects gaps; used in the event loop only.

    The first reading of the clock after a gap calls `tell` with the length of the gap in seconds.
    That call precedes the return to the reader.
    """

    def __init__(
        self, clock: Callable[[], Moment], pulse: Pulse, tell: Callable[[float], None]
    ) -> None:
        """Take the current time as the last reading."""
        self.lost = 0.0
        self._clock = clock
        self._pulse = pulse
        self._tell = tell
        self._looked = clock().monotonic
        self._next: asyncio.TimerHandle | None = None

    def __call__(self) -> Moment:
        """Return the current time; report a gap since the last reading."""
        now = self._clock()
        gap = now.monotonic - self._looked
        self._looked = now.monotonic
        if gap > GAP:
            self.lost += gap
            log.warning("daemon.stood_still", seconds=round(gap, 3))
            self._tell(gap)
        return now

    def begin(self) -> Moment:
        """Return the current time, and send heartbeats until `close`."""
        now = self._clock()
        self._looked = now.monotonic
        self._beat()
        return now

    def _beat(self) -> None:
        """Send a heartbeat unless a gap is found: the instances process the gap first."""
        self._next = asyncio.get_running_loop().call_later(BEAT, self._beat)
        lost = self.lost
        now = self()
        if self.lost == lost:
            self._pulse.beat(now.monotonic)

    def close(self) -> None:
        """Stop the heartbeats."""
        if self._next:
            self._next.cancel()
        self._next = None
