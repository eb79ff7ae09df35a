"""Drains and rolling restarts, as callers see them: scenario 39."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Phase
from comfysup.supervision.protocols import NothingToDrain
from tests.unit.api.site import API, COMM, Site, World, one, site_of
from tests.unit.supervision.fakes import FakeLauncher, FakeProcess
from tests.unit.supervision.stage import Stage

ROLL = f"{API}/environments/comm/restart"


class Works(NothingToDrain):
    """A drainer that waits until the test sets that the work is done."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    @override
    async def drain(self, spec: InstanceSpec) -> None:
        await self.done.wait()


def world_with(drainer: Works, launcher: FakeLauncher | None = None) -> World:
    stage = Stage(launcher)
    stage.context = replace(stage.context, drainer=drainer)
    return World(stage=stage)


async def start(site: Site, *numbers: int) -> None:
    for number in numbers or (0,):
        await site.post(f"{API}/start-single", one(number))


@pytest.mark.parametrize("verb", ["stop", "restart"])
async def test_a_drain_is_answered_when_the_prompts_have_finished(verb: str) -> None:
    drainer, launcher = Works(), FakeLauncher()
    async with site_of(world_with(drainer, launcher)) as site:
        await start(site)
        asking = asyncio.create_task(site.post(f"{API}/instances/0/{verb}?drain=60"))
        await site.stage.until(lambda: site.fleet.find("0").life.phase is Phase.DRAINING)
        shown = await site.get(f"{API}/instances/0")
        signals = list(launcher.process.signals)
        drainer.done.set()
        answer = await asking

    assert (shown["state"], shown["ready"], shown["wanted"]) == (
        "draining",
        False,
        verb == "restart",
    )
    assert not signals
    assert answer["state"] == ("running" if verb == "restart" else "stopped")


async def test_a_timed_out_wait_leaves_the_instance_draining() -> None:
    async with site_of(world_with(Works())) as site:
        await start(site)
        status, answer = await site.ask("POST", f"{API}/instances/0/stop?drain=60&timeout=0")

    assert (status, answer["state"]) in ((202, "draining"), (202, "running"))


@pytest.mark.parametrize("drain", ["-1", "nan", "inf", "x", "1e12"])
async def test_an_invalid_drain_is_422(drain: str) -> None:
    async with site_of() as site:
        await start(site)
        status, answer = await site.ask("POST", f"{API}/instances/0/stop?drain={drain}")

    assert (status, answer["code"]) == (422, "invalid_request")


# ---- one at a time


class Rolling(FakeLauncher):
    """Record the number of running processes at each launch; the second `bad` process exits."""

    def __init__(self, bad: int | None = None) -> None:
        super().__init__()
        self.bad = bad
        self.others: list[int] = []

    @override
    def _keep(self, spec: InstanceSpec, process: FakeProcess) -> FakeProcess:
        self.others.append(len(self.alive()))
        kept = super()._keep(spec, process)
        if spec.id == self.bad and len(self.launches) > 3:
            kept.end(1)
        return kept


def listed(found: object) -> list[dict[str, Any]]:
    assert isinstance(found, list)
    return found


def ids(named: object) -> list[int]:
    return [each["id"] for each in listed(named)]


async def test_instances_are_restarted_one_at_a_time() -> None:
    launcher = Rolling()
    async with site_of(World(stage=Stage(launcher))) as site:
        await start(site, 0, 1, 2)
        answer = await site.post(ROLL)

    assert ids(answer["restarted"]) == [0, 1, 2]
    assert (answer["failed"], answer["left_alone"]) == ([], [])
    assert launcher.others[3:] == [2, 2, 2]


async def test_a_rolling_restart_ends_at_the_first_failure() -> None:
    async with site_of(World(stage=Stage(Rolling(bad=1)))) as site:
        await start(site, 0, 1, 2)
        answer = await site.post(ROLL)
        last = await site.get(f"{API}/instances/2")

    assert (ids(answer["restarted"]), ids(answer["left_alone"])) == ([0], [2])
    assert [(each["id"], each["code"]) for each in listed(answer["failed"])] == [
        (1, "start_failed")
    ]
    assert last["generation"] == 1


async def test_a_rolling_restart_skips_stopped_instances_and_other_environments() -> None:
    async with site_of() as site:
        await start(site, 0, 1)
        await site.post(f"{API}/instances/0/stop")
        await site.post(f"{API}/start-single", one(2, environment="aua-sp"))
        answer = await site.post(ROLL)

    assert ids(answer["restarted"]) == [1]


async def test_a_rolling_restart_drains_each_instance() -> None:
    drainer = Works()
    drainer.done.set()
    world = world_with(drainer)
    async with site_of(world) as site:
        await start(site, 0, 1)
        answer = await site.post(f"{ROLL}?drain=60")

    assert ids(answer["restarted"]) == [0, 1]
    assert "draining" in world.stage.heard(1)


async def test_an_unknown_environment_is_refused() -> None:
    async with site_of(World(environments=[COMM])) as site:
        refused = await site.refused("POST", f"{API}/environments/other/restart")
        known = await site.post(ROLL)

    assert refused[:2] == (404, "unknown_environment")
    assert known["restarted"] == []
