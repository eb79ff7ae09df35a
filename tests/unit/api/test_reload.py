"""`POST /api/comfyui/reload`: its responses; tests/unit/app tests its actions."""

import asyncio

import pytest

from comfysup.model.instances_file import ConfigError, Failure, Planned, ReloadOutcome
from tests.scenarios.waiting import bounded
from tests.unit.api.site import API, World, site_of
from tests.unit.supervision.fakes import spec_of

RELOAD = f"{API}/reload"


def world_of(outcome: ReloadOutcome) -> World:
    async def reload() -> ReloadOutcome:
        return outcome

    return World(reload=reload)


async def test_the_response_of_a_reload_lists_every_instance() -> None:
    outcome = ReloadOutcome(
        legible=True,
        plan=(Planned(spec_of(0, name="zero"), "start", "new in instances.json"),),
        started=(spec_of(0, name="zero"),),
        stopped=(spec_of(1),),
        restarted=(spec_of(2),),
        updated=(spec_of(3),),
        left_alone=(spec_of(4),),
        failed=(Failure(spec_of(5), "port_taken", "port 3006 belongs to pid 7"),),
        mistakes=(ConfigError("instances[6].port", 9, 4, "must be a whole number"),),
        warnings=("instance 6 'x' is left as it is",),
    )
    async with site_of(world_of(outcome)) as site:
        answer = await site.post(RELOAD)

    assert answer == {
        "dry_run": False,
        "plan": [{"id": 0, "name": "zero", "action": "start", "reason": "new in instances.json"}],
        "started": [{"id": 0, "name": "zero"}],
        "stopped": [{"id": 1, "name": "instance_1"}],
        "restarted": [{"id": 2, "name": "instance_2"}],
        "updated": [{"id": 3, "name": "instance_3"}],
        "left_alone": [{"id": 4, "name": "instance_4"}],
        "failed": [
            {
                "id": 5,
                "name": "instance_5",
                "error": "port 3006 belongs to pid 7",
                "code": "port_taken",
            }
        ],
        "mistakes": [
            {
                "place": "instances[6].port",
                "line": 9,
                "column": 4,
                "text": "must be a whole number",
            }
        ],
        "warnings": ["instance 6 'x' is left as it is"],
    }


async def test_an_unusable_file_is_422_with_its_errors() -> None:
    mistake = ConfigError("", 3, 7, "expected ',' or '}', found 'x'")
    async with site_of(world_of(ReloadOutcome(legible=False, mistakes=(mistake,)))) as site:
        status, answer = await site.ask("POST", RELOAD)

    assert status == 422
    assert answer == {
        "code": "invalid_request",
        "detail": [
            {
                "loc": ["instances.json", 3, 7],
                "msg": "line 3, column 7: expected ',' or '}', found 'x'",
                "type": "instances_file",
            }
        ],
    }


async def test_a_reload_completes_when_its_caller_disconnects() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reload() -> ReloadOutcome:
        begun.set()
        await go_on.wait()
        ended.set()
        return ReloadOutcome(legible=True)

    async with site_of(World(reload=reload)) as site:
        caller = asyncio.create_task(site.ask("POST", RELOAD))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await site.get("/livez")
        go_on.set()
        async with bounded():
            await ended.wait()


async def test_a_dry_run_is_distinguishable_from_a_reload() -> None:
    async def plan() -> ReloadOutcome:
        return ReloadOutcome(legible=True, dry_run=True)

    async with site_of(World(plan_reload=plan)) as site:
        dry = await site.post(f"{RELOAD}?dry_run=true")
        real = await site.post(RELOAD)

    assert (dry["dry_run"], real["dry_run"]) == (True, False)
