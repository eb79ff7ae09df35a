"""The clock of supervision, and the times in which nothing was looked at.

A daemon that is stopped (SIGSTOP, `docker pause`), or whose event loop stands still, sees nothing:
what would have been in time may have happened meanwhile, and a process may not have had the time
either. So the seconds of such a gap count for no deadline. The gap between two daemons is one too;
the file of `Heartbeat` tells how long that was.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from comfysup.supervision.life import Moment

log = structlog.get_logger()

BEAT: Final = 0.5
"""Seconds between two signs that the event loop turns."""

GAP: Final = 1.5
"""Seconds without a sign after which nothing was looked at."""


class Pulse(Protocol):
    """Where the next daemon finds out when this one looked last."""

    def beat(self, monotonic: float) -> None:
        """Note that everything was looked at until now. Raises nothing."""


class Attention:
    """Tells the time, and notices when nothing was looked at; used in the event loop alone.

    `tell` hears the seconds of each gap at the first reading of the clock after it, before the
    reader does.
    """

    def __init__(
        self, clock: Callable[[], Moment], pulse: Pulse, tell: Callable[[float], None]
    ) -> None:
        """Begin to look now."""
        self.lost = 0.0
        self._clock = clock
        self._pulse = pulse
        self._tell = tell
        self._looked = clock().monotonic
        self._next: asyncio.TimerHandle | None = None

    def __call__(self) -> Moment:
        """Return this moment."""
        now = self._clock()
        gap = now.monotonic - self._looked
        self._looked = now.monotonic
        if gap > GAP:
            self.lost += gap
            log.warning("daemon.stood_still", seconds=round(gap, 3))
            self._tell(gap)
        return now

    def begin(self) -> Moment:
        """Look from now on, and give signs of life until `close`."""
        now = self._clock()
        self._looked = now.monotonic
        self._beat()
        return now

    def _beat(self) -> None:
        """Give a sign; after a gap not before the instances have heard of that."""
        self._next = asyncio.get_running_loop().call_later(BEAT, self._beat)
        lost = self.lost
        now = self()
        if self.lost == lost:
            self._pulse.beat(now.monotonic)

    def close(self) -> None:
        """Give no more."""
        if self._next:
            self._next.cancel()
        self._next = None
