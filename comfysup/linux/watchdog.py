"""Reports stalls: resources that a thread waits for, and the event loop itself."""

import asyncio
import faulthandler
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from comfysup.linux.conditions import Report
from comfysup.linux.process.signals import start_thread
from comfysup.supervision.tasks import keep_going

log = structlog.get_logger()

BEAT: Final = 0.5
"""Seconds between heartbeats of the loop, and between checks of them."""

LAG: Final = 1.0
"""Seconds by which a heartbeat may be late."""

REMEMBERED: Final = 60.0
"""Seconds for which a lag stays reported. The loop answers no request while it is blocked."""

LOOP = Path("event loop")


@dataclass(frozen=True, slots=True)
class Stall:
    """A resource that does not answer. `trouble` appends the duration to `sentence`."""

    name: str
    sentence: str
    seconds: float

    @property
    def trouble(self) -> str:
        """The full sentence. Its duration is rounded down to a power of two."""
        shown = 2
        while 2 * shown <= self.seconds:
            shown *= 2
        return f"{self.sentence} for {shown} s"


class Watchdog:
    """A heartbeat of the event loop, and a thread that checks it.

    `stalls` returns the current stalls. It is called in the loop at each heartbeat and must not
    block. `report` receives each change.
    """

    def __init__(self, stalls: Callable[[], Iterable[Stall]], report: Report) -> None:
        self._stalls = stalls
        self._report = report
        self._known: dict[str, str] = {}
        self._beat = time.monotonic()
        self._lagging = False
        self._lagged_at: float | None = None
        self._ended = threading.Event()
        self._main = threading.get_ident()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the heartbeat task and the thread. Call this in the thread of the loop."""
        self._beat = time.monotonic()
        loop = keep_going(self._run, "the watchdog", partial(self._report, Path("watchdog")))
        self._task = asyncio.create_task(loop, name="watchdog")
        start_thread(self._listen, "watchdog")

    def close(self) -> None:
        """Stop the heartbeat and the thread without a report."""
        self._ended.set()
        if self._task:
            self._task.cancel()

    # ---- in the event loop

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            if self._lagging:
                self._tell_of_lag(now - self._beat - BEAT)
            self._beat, self._lagging = now, False
            if self._lagged_at and now > self._lagged_at + REMEMBERED:
                self._lagged_at = None
                self._report(LOOP, None)
            self._look()
            await asyncio.sleep(BEAT)

    def _look(self) -> None:
        found = {stall.name: stall.trouble for stall in self._stalls()}
        for name in self._known.keys() - found.keys():
            log.info("stall.over", name=name)
            self._report(Path(name), None)
        for name, trouble in found.items():
            if self._known.get(name) != trouble:
                log.warning("stall.lasts", trouble=trouble)
                self._report(Path(name), trouble)
        self._known = found

    def _tell_of_lag(self, seconds: float) -> None:
        log.error("loop.resumed", seconds=round(seconds, 1))
        self._lagged_at = time.monotonic()
        self._report(
            LOOP, f"the event loop was blocked for {seconds:.0f} s; the daemon's log says where"
        )

    # ---- in the thread

    def _listen(self) -> None:
        looked = time.monotonic()
        while not self._ended.wait(BEAT):
            now = time.monotonic()
            # If this check is late as well, the machine is busy or the process was stopped.
            timely, looked = now - looked < BEAT + LAG, now
            lag = now - self._beat - BEAT
            if timely and lag > LAG and not self._lagging:
                self._lagging = True
                stack = traceback.format_stack(sys._current_frames()[self._main])  # noqa: SLF001
                log.error("loop.lags", seconds=round(lag, 1), stack="".join(stack[-12:]))


def end_at_last(seconds: float) -> None:
    """Exit after that many seconds even if cleanup hangs, and write all stacks to stderr."""
    if sys.stderr:
        with suppress(RuntimeError):  # no thread can be started
            faulthandler.dump_traceback_later(seconds, exit=True)
