"""Concurrent callers and random failures: scenarios 9 and 16, with many seeds."""

import asyncio
from dataclasses import replace
from typing import TypeAlias

import pytest

from comfysup.model.spec import Policy
from comfysup.supervision.callers import Reply
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import (
    RestartAsked,
    StartAsked,
    StopAsked,
    WaitFor,
    WaitOutcome,
)
from comfysup.supervision.protocols import RefusedError
from comfysup.supervision.results import Outcome, Result
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.chaos import Chaos, ChaoticLauncher, chaotic_prober
from tests.unit.supervision.fakes import spec_of
from tests.unit.supervision.stage import Stage, alive, fleet_on

Wish: TypeAlias = StartAsked | RestartAsked | StopAsked

SEEDS = range(60)
CALLS = 20
LADDER = StopEscalation(terminate=0.001, kill=0.002, give_up=60.0)
POLICY = Policy(
    stop_grace=0.001,
    backoff_initial=0.001,
    backoff_max=0.002,
    max_failures=1_000_000,
    stable_after=0.003,
    probe_period=0.001,
    probe_failures=2,
)


def stage_of(chaos: Chaos) -> tuple[Stage, ChaoticLauncher]:
    launcher = ChaoticLauncher(chaos)
    return Stage(launcher, chaotic_prober(chaos)), launcher


def a_wish(chaos: Chaos) -> Wish:
    wishes: list[Wish] = [StartAsked(), RestartAsked(LADDER), StopAsked(LADDER)]
    return chaos.random.choice(wishes)


@pytest.mark.parametrize("seed", SEEDS)
async def test_twenty_concurrent_requests_never_make_two_processes_and_the_last_takes_effect(
    seed: int,
) -> None:
    chaos = Chaos(seed)
    stage, launcher = stage_of(chaos)
    async with alive(stage, spec_of(policy=POLICY)) as instance:
        replies: list[asyncio.Future[Reply]] = []
        wishes = [a_wish(chaos) for _ in range(CALLS)]
        for wish in wishes:
            starter = chaos.random.choice([WaitFor.SPAWN, WaitFor.READY])
            wait_for = WaitFor.STOP if isinstance(wish, StopAsked) else starter
            replies.append(instance.ask(wish, wait_for))
            await chaos.pause()
        last = Phase.STOPPED if isinstance(wishes[-1], StopAsked) else Phase.RUNNING
        verdicts = {reply.verdict for reply in await asyncio.gather(*replies)}
        chaos.calm = True
        await stage.until(lambda: instance.life.phase is last)

        assert launcher.overlaps == []
        assert verdicts <= {WaitOutcome.DONE, WaitOutcome.FAILED, WaitOutcome.OVERRIDDEN}
        assert launcher.living(0) == (last is Phase.RUNNING)


@pytest.mark.parametrize("seed", SEEDS)
async def test_after_a_reported_stop_no_process_runs(seed: int) -> None:
    chaos = Chaos(seed)
    stage, launcher = stage_of(chaos)
    async with alive(stage, spec_of(policy=POLICY)) as instance:
        for _ in range(10):
            started = instance.ask(
                StartAsked(), chaos.random.choice([WaitFor.SPAWN, WaitFor.READY])
            )
            await chaos.pause()
            stopped = await instance.ask(StopAsked(LADDER), WaitFor.STOP)

            assert started.done()
            assert stopped == Reply(WaitOutcome.DONE)
            assert launcher.living(0) == 0


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_fleet_answers_all_concurrent_calls_and_uses_no_port_twice(seed: int) -> None:
    chaos = Chaos(seed)
    stage, launcher = stage_of(chaos)
    async with fleet_on(stage) as fleet:
        results = await asyncio.gather(*(besiege(fleet, chaos) for _ in range(CALLS)))
        chaos.calm = True
        await asyncio.gather(*(fleet.stop(instance) for instance in fleet))

        assert launcher.overlaps == []
        assert Outcome.TIMEOUT not in {result.outcome for each in results for result in each}
        assert not any(process.alive for process in launcher.processes)


async def besiege(fleet: Fleet, chaos: Chaos) -> list[Result]:
    """Send random requests to three instances that share two ports."""
    results = []
    for _ in range(5):
        await chaos.pause()
        results.append(await ask_something(fleet, chaos))
    return results


async def ask_something(fleet: Fleet, chaos: Chaos) -> Result:
    number = chaos.random.randrange(3)
    spec = replace(spec_of(number, policy=POLICY), port=3001 + chaos.random.randrange(2))
    try:
        instance = fleet.find(str(number))
    except RefusedError:
        return await fleet.start(spec, WaitFor.READY, 60.0)
    match chaos.random.randrange(4):
        case 0:
            return await fleet.restart(instance, WaitFor.SPAWN, 60.0)
        case 1:
            return await fleet.stop(instance, escalation=LADDER)
        case 2:
            return await fleet.remove(instance)
        case _:
            return await fleet.start(spec, WaitFor.READY, 60.0)
