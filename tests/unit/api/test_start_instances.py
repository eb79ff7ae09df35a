"""`POST /api/comfyui/start-instances`: the response of the specification and each result."""

import asyncio
import re

import pytest
from typing_extensions import override

from comfysup.model.spec import InstanceSpec
from tests.scenarios.waiting import bounded
from tests.unit.api.results import results, statuses
from tests.unit.api.site import API, World, one, several, site_of, world_of
from tests.unit.supervision.fakes import (
    FailingLauncher,
    FakeLauncher,
    FakeProber,
    NeverReadyProbe,
    SlowLauncher,
)
from tests.unit.supervision.stage import Stage

START = f"{API}/start-instances"


class MeetingLauncher(FakeLauncher):
    """Makes no process before all of them are requested."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(number)

    @override
    async def prepare(self, spec: InstanceSpec) -> None:
        await self.barrier.wait()


async def test_the_answer_has_the_shape_of_the_spec() -> None:
    async with site_of() as site:
        answer = await site.post(START, several(one(0), one(1), environment="aua-sp"))

    assert {**answer, "results": []} == {
        "status": "completed",
        "environment": "aua-sp",
        "results": [],
        "total_instances": 2,
        "started_instances": 2,
        "warnings": [],
    }


async def test_a_started_instance_has_output_and_no_error() -> None:
    async with site_of() as site:
        answer = await site.post(START, several(one()))

    result = results(answer)[0]
    output = result.pop("output")
    sentence = r"Instance 0 'comfyui-0' is ready after \d+\.\d s on port 3001 \(pid 4242\)\n"
    assert re.fullmatch(sentence, str(output))
    assert result == {
        "instance_id": 0,
        "name": "comfyui-0",
        "port": 3001,
        "status": "started",
        "state": "running",
        "pid": 4242,
    }


async def test_the_environment_of_the_settings_is_the_default() -> None:
    async with site_of() as site:
        answer = await site.post(START, several())

    assert (answer["environment"], answer["results"]) == ("comm", [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, "aua-sp"), ({"environment": "own"}, "own"), ({"environment": None}, "aua-sp")],
)
async def test_the_environment_of_an_instance_precedes_that_of_the_request(
    fields: dict[str, object], expected: str
) -> None:
    async with site_of() as site:
        await site.post(START, several(one(0, **fields), environment="aua-sp"))
        spec = site.fleet.find("0").spec

    assert spec.environment == expected


async def test_a_disabled_instance_is_counted_and_left_alone() -> None:
    async with site_of() as site:
        answer = await site.post(START, several(one(0, enabled=False), one(1)))
        known = [instance.spec.id for instance in site.fleet]

    assert (answer["total_instances"], answer["started_instances"]) == (2, 1)
    assert [result["instance_id"] for result in results(answer)] == [1]
    assert known == [1]


async def test_a_disabled_instance_may_duplicate_an_enabled_one() -> None:
    async with site_of() as site:
        answer = await site.post(START, several(one(0), one(0, enabled=False)))

    assert statuses(answer) == ["started"]


async def test_repeating_a_start_makes_one_process() -> None:
    async with site_of() as site:
        first = await site.post(START, several(one()))
        second = await site.post(START, several(one()))

    assert results(first) == results(second)


async def test_an_instance_that_is_still_loading_is_a_timeout_and_continues() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        answer = await site.post(f"{START}?timeout=0.05", several(one()))
        state = site.fleet.find("0").life.phase

    result = results(answer)[0]
    assert (result["status"], result["state"], result["pid"]) == ("timeout", "starting", 4242)
    assert result["error"] == "still starting after 0.05 s; it is still loading"
    assert state == "starting"


async def test_wait_for_spawn_returns_once_the_process_exists() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        answer = await site.post(f"{START}?wait=spawn", several(one()))

    result = results(answer)[0]
    assert (result["status"], result["state"], result["pid"]) == ("started", "starting", 4242)
    assert result["output"] == "Instance 0 'comfyui-0' is starting on port 3001 (pid 4242)\n"


async def test_an_instance_that_cannot_be_executed_fails_with_the_reason() -> None:
    async with site_of(world_of(FailingLauncher(1))) as site:
        answer = await site.post(START, several(one()))

    result = results(answer)[0]
    assert (result["status"], result["code"]) == ("failed", "no_memory")
    assert result["error"] == "cannot start: no memory"
    assert "output" not in result


async def test_a_result_reports_a_stop_during_the_start() -> None:
    launcher = SlowLauncher()
    async with site_of(world_of(launcher)) as site:
        asked = asyncio.create_task(site.post(START, several(one())))
        await launcher.waiting.wait()
        await site.post(f"{API}/stop-all")
        answer = await asked

    assert (statuses(answer), results(answer)[0]["error"]) == (["failed"], "stopped while starting")


async def test_all_starts_are_requested_before_the_first_is_awaited() -> None:
    async with site_of(world_of(MeetingLauncher(8))) as site, bounded():
        answer = await site.post(START, several(*map(one, range(8))))

    assert statuses(answer) == ["started"] * 8


async def test_they_share_one_deadline() -> None:
    """Sequential starts would exceed every timeout of the tests."""
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site, bounded():
        answer = await site.post(f"{START}?timeout=3", several(*map(one, range(50))))

    assert statuses(answer) == ["timeout"] * 50


async def test_an_instance_starts_although_its_caller_disconnects() -> None:
    launcher = SlowLauncher()
    async with site_of(world_of(launcher)) as site:
        asked = asyncio.create_task(site.post(START, several(one())))
        await launcher.waiting.wait()
        asked.cancel()
        await asyncio.wait([asked])
        launcher.gate.set()
        await site.stage.until(lambda: site.fleet.find("0").life.phase == "running")
        status = await site.get(f"{API}/instances/0")

    assert status["ready"] is True
