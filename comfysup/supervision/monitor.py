"""Watching one process: until it is ready, then whether it lives."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from comfysup.supervision.events import BecameReady, Report, Unresponsive, WentSilent
from comfysup.supervision.life import Moment
from comfysup.supervision.protocols import Finding, Probe
from comfysup.supervision.spec import Policy

BUSY_FACTOR = 5
"""How many times as many failed probes a process gets that works on a prompt meanwhile."""


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
    ) -> None:
        """Watch nothing yet."""
        self.health = Health()
        self._generation = generation
        self._probe = probe
        self._policy = policy
        self._clock = clock
        self._report = report

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
            asked = self._clock()
            finding = await self._probe.ask(policy.probe_timeout)
            self.health = self.health.after(finding, asked, self._clock())
            if finding is Finding.REFUSED:
                self._report(WentSilent(self._generation))
                return True
            if self.health.hangs(finding, policy):
                message = f"no answer to {self.health.failures} probes in a row"
                self._report(Unresponsive(self._generation, message))
                return False
