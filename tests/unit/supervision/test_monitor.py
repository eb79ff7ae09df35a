"""The monitor of one process: health and reports from a sequence of findings."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
from typing_extensions import override

from comfysup.model.spec import Policy
from comfysup.supervision.life import Moment
from comfysup.supervision.lifecycle_events import BecameReady, Report, Unresponsive, WentSilent
from comfysup.supervision.monitor import Health, Monitor
from comfysup.supervision.protocols import Finding

GENERATION = 3
POLICY = Policy(probe_period=0.0, probe_failures=3)


class ScriptedProbe:
    """Returns the findings of its script, and then waits forever."""

    def __init__(self, *script: Finding) -> None:
        self.script = list(script)
        self.over = asyncio.Event()
        self.patiences: list[float] = []

    async def until_ready(self) -> None:
        await asyncio.sleep(0)

    async def ask(self, patience: float) -> Finding:
        self.patiences.append(patience)
        if not self.script:
            self.over.set()
            await asyncio.get_running_loop().create_future()
        return self.script.pop(0)


class Watch:
    """A running monitor, its reports, and a clock that advances by a second per probe."""

    def __init__(self, probe: ScriptedProbe, policy: Policy = POLICY) -> None:
        self.reports: list[Report] = []
        self.policy = policy
        self.looks = 0
        self.lost = 0.0
        self.monitor = Monitor(
            GENERATION,
            probe,
            lambda: self.policy,
            self.clock,
            self.reports.append,
            lambda: self.lost,
        )

    def clock(self) -> Moment:
        self.looks += 1
        return Moment(monotonic=float(self.looks), wall=1_700_000_000.0 + self.looks)


@asynccontextmanager
async def at_work(watch: Watch, probe: ScriptedProbe) -> AsyncIterator[Watch]:
    """Run until the end of the script or of the monitor."""
    task = asyncio.create_task(watch.monitor.run())
    over = asyncio.create_task(probe.over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
    yield watch
    for each in (task, over):
        each.cancel()
    await asyncio.wait([task, over])


def watching(*script: Finding, policy: Policy = POLICY) -> AbstractAsyncContextManager[Watch]:
    probe = ScriptedProbe(*script)
    return at_work(Watch(probe, policy), probe)


async def reports_of(*script: Finding, policy: Policy = POLICY) -> Sequence[Report]:
    async with watching(*script, policy=policy) as watch:
        return watch.reports


ANSWERED, REFUSED, SILENT, WORKER_DEAD, BUSY = Finding
READY = BecameReady(GENERATION)
HUNG = Unresponsive(GENERATION, "no response to 3 probes in a row")


async def test_a_process_that_answers_is_reported_ready_once() -> None:
    assert await reports_of(*[ANSWERED] * 10) == [READY]


async def test_failures_below_the_threshold_are_nothing() -> None:
    assert await reports_of(*[SILENT, SILENT, ANSWERED] * 5) == [READY]


async def test_failures_at_the_threshold_are_unresponsive_and_end_the_monitor() -> None:
    probe = ScriptedProbe(ANSWERED, *[SILENT] * 10)
    async with at_work(Watch(probe), probe) as watch:
        assert watch.reports == [READY, HUNG]
        assert len(probe.script) == 10 - 3


async def test_a_process_whose_worker_has_ended_is_reported_at_once() -> None:
    [ready, report] = await reports_of(ANSWERED, WORKER_DEAD)

    assert ready == READY
    assert isinstance(report, Unresponsive)
    assert report.reason == "worker_dead"


async def test_a_process_that_uses_cpu_for_a_prompt_has_five_times_the_threshold() -> None:
    assert await reports_of(*[BUSY] * 14, ANSWERED) == [READY]
    assert await reports_of(*[BUSY] * 15) == [
        READY,
        Unresponsive(GENERATION, "no response to 15 probes in a row"),
    ]


async def test_a_process_that_becomes_idle_after_many_busy_failures_is_unresponsive() -> None:
    assert await reports_of(*[BUSY] * 7, SILENT) == [
        READY,
        Unresponsive(GENERATION, "no response to 8 probes in a row"),
    ]


async def test_a_refused_port_means_loading_and_then_ready() -> None:
    assert await reports_of(ANSWERED, REFUSED, REFUSED, ANSWERED) == [
        READY,
        WentSilent(GENERATION),
        READY,
    ]


async def test_a_single_refusal_is_not_reported_as_loading() -> None:
    assert await reports_of(ANSWERED, REFUSED, ANSWERED, REFUSED, SILENT, ANSWERED) == [READY]


async def test_a_missing_answer_during_a_gap_is_no_failure() -> None:
    """As when the daemon was stopped between a probe and its response."""

    class PausedProbe(ScriptedProbe):
        @override
        async def ask(self, patience: float) -> Finding:
            watch.lost += 60.0
            return await super().ask(patience)

    probe = PausedProbe(*[SILENT, BUSY] * 20)
    watch = Watch(probe)
    async with at_work(watch, probe):
        assert watch.reports == [READY]
        assert watch.monitor.health.failures == 0


async def test_failures_before_a_re_execution_are_forgotten() -> None:
    findings = [SILENT, SILENT, REFUSED, REFUSED, SILENT, SILENT, ANSWERED]

    assert await reports_of(*findings) == [READY, WentSilent(GENERATION), READY]


@pytest.mark.parametrize("failures", [1, 2, 12])
async def test_the_threshold_comes_from_the_policy(failures: int) -> None:
    policy = replace(POLICY, probe_failures=failures)
    message = f"no response to {failures} probes in a row"

    assert await reports_of(*[SILENT] * 20, policy=policy) == [
        READY,
        Unresponsive(GENERATION, message),
    ]


async def test_a_policy_that_changes_counts_from_the_next_probe_on() -> None:
    class ChangingProbe(ScriptedProbe):
        @override
        async def ask(self, patience: float) -> Finding:
            watch.policy = replace(POLICY, probe_timeout=patience + 1.0)
            return await super().ask(patience)

    probe = ChangingProbe(ANSWERED, ANSWERED)
    watch = Watch(probe, replace(POLICY, probe_timeout=7.0))
    async with at_work(watch, probe):
        assert probe.patiences == [7.0, 8.0, 9.0]


async def test_health_before_readiness_is_unknown() -> None:
    assert Watch(ScriptedProbe()).monitor.health == Health()


async def test_health_is_unknown_while_a_process_loads_again() -> None:
    class ReadyOnceProbe(ScriptedProbe):
        times = 0

        @override
        async def until_ready(self) -> None:
            self.times += 1
            if self.times > 1:
                await self.ask(0.0)

    probe = ReadyOnceProbe(REFUSED, REFUSED)
    async with at_work(Watch(probe), probe) as watch:
        assert watch.reports == [READY, WentSilent(GENERATION)]
        assert watch.monitor.health == Health()


async def test_health_contains_the_time_and_latency_of_the_response() -> None:
    async with watching(ANSWERED) as watch:
        health = watch.monitor.health

        assert health == Health(
            live=True, checked_at=1_700_000_003.0, latency_seconds=1.0, failures=0
        )


async def test_health_counts_failures_and_keeps_the_last_latency() -> None:
    async with watching(ANSWERED, SILENT, BUSY) as watch:
        health = watch.monitor.health

        assert (health.live, health.failures, health.latency_seconds) == (False, 2, 1.0)
        assert health.checked_at == 1_700_000_007.0


async def test_a_response_resets_the_failures() -> None:
    async with watching(SILENT, SILENT, ANSWERED) as watch:
        health = watch.monitor.health

        assert (health.live, health.failures) == (True, 0)
