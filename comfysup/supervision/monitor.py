"""Watching one process: until it is ready, then whether it lives."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from comfysup.model.spec import Policy
from comfysup.supervision.events import BecameReady, Report, Unresponsive, WentSilent
from comfysup.supervision.life import Moment
from comfysup.supervision.protocols import Finding, Probe

HEARD = (Finding.ANSWERED, Finding.REFUSED)
"""What is so whenever it was asked: unlike silence, it takes no listening."""

CLOSING = 2.0
"""Seconds after which a process that refuses connections is asked again: ComfyUI closes its port
first when it ends, and that is no loading anew."""

WORKER_DEAD = (
    "ComfyUI answers, but the thread that executes its prompts has ended",
    "worker_dead",
)
"""What is reported of a process whose worker is dead: the message, and the reason."""
BUSY_FACTOR = 5
"""How many times as many failed probes a process gets that works meanwhile."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one process found; times are wall-clock seconds."""

    live: bool | None = None
    checked_at: float | None = None
    latency_seconds: float | None = None
    failures: int = 0

    def after(self, finding: Finding, asked: Moment, answered: Moment) -> Self:
        """Return the health once that finding is counted."""
        if finding is Finding.ANSWERED:
            latency = answered.monotonic - asked.monotonic
            return replace(
                self, live=True, checked_at=answered.wall, latency_seconds=latency, failures=0
            )
        return replace(self, live=False, checked_at=answered.wall, failures=self.failures + 1)

    def hangs(self, finding: Finding, policy: Policy) -> bool:
        """Whether so many probes in a row have failed that the process counts as hung."""
        factor = BUSY_FACTOR if finding is Finding.BUSY else 1
        return self.failures >= policy.probe_failures * factor


class Monitor:
    """Watches the process of one generation and reports what an instance must know.

    `policy` is asked before every probe, since it may change while the process runs.
    """

    def __init__(
        self,
        generation: int,
        probe: Probe,
        policy: Callable[[], Policy],
        clock: Callable[[], Moment],
        report: Callable[[Report], None],
        lost: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Watch nothing yet; `lost` as in `World`."""
        self.health = Health()
        self._generation = generation
        self._probe = probe
        self._policy = policy
        self._clock = clock
        self._report = report
        self._lost = lost

    async def run(self, *, ready: bool = False) -> None:
        """Watch until cancelled, or until the process has been reported as unresponsive.

        `ready` says that it was seen ready before: by the daemon that this one follows.
        """
        if not ready:
            await self._await_readiness()
        while await self._watch_liveness():
            await self._await_readiness()

    async def _await_readiness(self) -> None:
        self.health = Health()
        await self._probe.until_ready()
        self.health = Health(live=True, checked_at=self._clock().wall)
        self._report(BecameReady(self._generation))

    async def _watch_liveness(self) -> bool:
        """Probe until it refuses connections (True: it loads again) or hangs (False)."""
        while True:
            policy = self._policy()
            await asyncio.sleep(policy.probe_period)
            finding = await self._ask(policy)
            if finding is Finding.REFUSED:
                await asyncio.sleep(min(policy.probe_period, CLOSING))
                finding = await self._ask(policy)
            if finding is Finding.REFUSED:
                self._report(WentSilent(self._generation))
                return True
            if finding is Finding.WORKER_DEAD:
                self._report(Unresponsive(self._generation, *WORKER_DEAD))
                return False
            if self.health.hangs(finding, policy):
                message = f"no response to {self.health.failures} probes in a row"
                self._report(Unresponsive(self._generation, message))
                return False

    async def _ask(self, policy: Policy) -> Finding:
        """Ask once and count the finding; silence counts only where it was listened to."""
        asked, lost = self._clock(), self._lost()
        finding = await self._probe.ask(policy.probe_timeout)
        answered = self._clock()
        if self._lost() == lost or finding in HEARD:
            self.health = self.health.after(finding, asked, answered)
        return finding
