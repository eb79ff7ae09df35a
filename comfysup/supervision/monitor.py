"""Watches one process: for readiness, then for liveness."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from comfysup.model.spec import Policy
from comfysup.supervision.life import Moment
from comfysup.supervision.lifecycle_events import BecameReady, Report, Unresponsive, WentSilent
from comfysup.supervision.protocols import Finding, Probe

HEARD = (Finding.ANSWERED, Finding.REFUSED)
"""Findings that count despite a gap; an absent answer counts only if the daemon ran meanwhile."""

CLOSING = 2.0
"""Seconds before a process that refuses connections is probed again. ComfyUI closes its port before
it exits, which is not a reload."""

WORKER_DEAD = (
    "ComfyUI answers, but the thread that executes its prompts has ended",
    "worker_dead",
)
"""Message and reason for a process whose worker thread has ended."""
BUSY_FACTOR = 5
"""The factor by which a busy process may fail more probes in a row."""


@dataclass(frozen=True, slots=True)
class Health:
    """The results of the probes of one process; `checked_at` is wall-clock seconds."""

    live: bool | None = None
    checked_at: float | None = None
    latency_seconds: float | None = None
    failures: int = 0

    def after(self, finding: Finding, asked: Moment, answered: Moment) -> Self:
        """Return the health after `finding`."""
        if finding is Finding.ANSWERED:
            latency = answered.monotonic - asked.monotonic
            return replace(
                self, live=True, checked_at=answered.wall, latency_seconds=latency, failures=0
            )
        return replace(self, live=False, checked_at=answered.wall, failures=self.failures + 1)

    def hangs(self, finding: Finding, policy: Policy) -> bool:
        """Return whether the process counts as hung after the failed probes in a row."""
        factor = BUSY_FACTOR if finding is Finding.BUSY else 1
        return self.failures >= policy.probe_failures * factor


class Monitor:
    """Watches the process of one generation and reports its changes to the instance.

    `policy` is called before every probe, because the policy may change while the process runs.
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
        """Start without watching; `lost` as in `InstanceContext`."""
        self.health = Health()
        self._generation = generation
        self._probe = probe
        self._policy = policy
        self._clock = clock
        self._report = report
        self._lost = lost

    async def run(self, *, ready: bool = False) -> None:
        """Watch until cancelled, or until the process has been reported as unresponsive.

        `ready` means that an earlier daemon saw the process ready.
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
        """Probe until the process refuses connections (True: it reloads) or hangs (False)."""
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
        """Probe once and count the finding; a missing answer counts only without a gap."""
        asked, lost = self._clock(), self._lost()
        finding = await self._probe.ask(policy.probe_timeout)
        answered = self._clock()
        if self._lost() == lost or finding in HEARD:
            self.health = self.health.after(finding, asked, answered)
        return finding
