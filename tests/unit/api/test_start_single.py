"""`POST /api/comfyui/start-single`: one instance, with its result as the status."""

import asyncio

import pytest

from tests.unit.api.site import API, World, one, several, site_of, world_of
from tests.unit.supervision.fakes import (
    FailingLauncher,
    FakeLauncher,
    FakeProber,
    NeverReadyProbe,
    SlowLauncher,
)
from tests.unit.supervision.stage import Stage

START = f"{API}/start-single"


async def test_success_reads_as_in_the_spec() -> None:
    async with site_of() as site:
        answer = await site.post(START, one(name="comfyui-quick"))

    assert answer["status"] == "success"
    assert answer["message"] == "Instance 'comfyui-quick' started on port 3001"
    assert str(answer["output"]).startswith("Instance 0 'comfyui-quick' is ready")


async def test_enabled_is_ignored() -> None:
    async with site_of() as site:
        answer = await site.post(START, one(enabled=False))

    assert answer["status"] == "success"


@pytest.mark.parametrize(
    ("query", "fields", "expected"),
    [
        ("", {}, "comm"),
        ("?environment=aua-sp", {}, "aua-sp"),
        ("?environment=aua-sp", {"environment": "own"}, "own"),
    ],
)
async def test_the_environment_is_in_the_body_or_the_query_or_the_settings(
    query: str, fields: dict[str, object], expected: str
) -> None:
    async with site_of() as site:
        await site.post(START + query, one(**fields))
        spec = site.fleet.find("0").spec

    assert spec.environment == expected


async def test_an_instance_that_is_still_loading_is_202_and_continues() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        status, answer = await site.ask("POST", f"{START}?timeout=0.05", one())
        phase = site.fleet.find("0").life.phase

    assert (status, answer["status"]) == (202, "starting")
    assert answer["message"] == (
        "Instance 'comfyui-0' is still starting after 0.05 s; it is still loading"
    )
    assert phase == "starting"


async def test_an_instance_that_fails_to_start_is_500_with_the_reason() -> None:
    async with site_of(world_of(FailingLauncher(1))) as site:
        answer = await site.refused("POST", START, one())

    assert answer == (500, "start_failed", "Failed to start instance: cannot start: no memory")


async def test_a_start_overridden_by_a_stop_fails() -> None:
    launcher = SlowLauncher()
    async with site_of(world_of(launcher)) as site:
        asked = asyncio.create_task(site.refused("POST", START, one()))
        await launcher.waiting.wait()
        await site.post(f"{API}/stop-all")
        answer = await asked

    assert answer == (500, "start_failed", "Failed to start instance: stopped while starting")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"environment": "gone"}, 404, "unknown_environment"),
        ({"port": 8001}, 409, "port_taken"),
        ({"port": 3005}, 409, "port_taken"),
        ({"port": 3002}, 409, "port_taken"),
        ({"name": "comfyui-1"}, 409, "name_taken"),
        ({"id": 1, "name": "comfyui-1"}, 409, "spec_conflict"),
    ],
)
async def test_a_refusal_has_its_status_and_code(
    fields: dict[str, object], status: int, code: str
) -> None:
    launcher = FakeLauncher()
    launcher.broken_environments = {"gone"}
    launcher.strangers = {3005: "nginx (pid 7)"}
    async with site_of(world_of(launcher)) as site:
        await site.post(f"{API}/start-instances", several(one(1)))
        answer = await site.refused("POST", START, one(**fields))
        known = [instance.spec.id for instance in site.fleet]

    assert answer[:2] == (status, code)
    assert known == [1]


async def test_a_start_is_refused_during_the_shutdown() -> None:
    async with site_of() as site:
        site.fleet.close()
        answer = await site.refused("POST", START, one())

    assert answer[:2] == (503, "shutting_down")


async def test_a_field_error_contains_its_location() -> None:
    async with site_of() as site:
        status, answer = await site.ask("POST", START, one(port="many"))

    detail = answer["detail"]
    assert isinstance(detail, list)
    assert (status, detail[0]["loc"]) == (422, ["body", "port"])


async def test_a_start_with_another_name_renames_the_running_instance() -> None:
    async with site_of() as site:
        await site.post(START, one(name="before"))
        await site.post(START, one(name="after", description="renamed"))
        instance = await site.get(f"{API}/instances/after")

    assert (instance["name"], instance["description"]) == ("after", "renamed")
    assert (instance["pid"], instance["generation"]) == (4242, 1)


@pytest.mark.parametrize("state", ["running", "stopped"])
async def test_a_start_without_a_name_keeps_the_name(state: str) -> None:
    async with site_of() as site:
        await site.post(START, one(name="main", description="for the shop"))
        if state == "stopped":
            await site.post(f"{API}/instances/main/stop")
        fields = {key: value for key, value in one().items() if key != "name"}
        answer = await site.post(START, fields)
        listed = await site.post(f"{API}/start-instances", {"instances": [fields]})
        instance = await site.get(f"{API}/instances/main")

    assert answer["message"] == f"Instance 'main' started on port {instance['port']}"
    assert (instance["name"], instance["description"]) == ("main", "for the shop")
    assert isinstance(listed["results"], list)
    assert listed["results"][0]["name"] == "main"


async def test_unknown_fields_are_named() -> None:
    async with site_of() as site:
        answer = await site.post(START, one(gpus=1))

    assert answer["warnings"] == ["unknown field 'gpus': did you mean 'gpu'?"]


async def test_a_caller_without_a_token_may_not_set_env() -> None:
    async with site_of() as site:
        answer = await site.refused("POST", START, one(env={"LD_PRELOAD": "/x.so"}))

    assert answer[:2] == (403, "forbidden")
