"""Instances as resources, by id or name."""

import asyncio

import pytest

from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.api.site import API, Site, World, site_of, world_of
from tests.unit.supervision.fakes import (
    FailingLauncher,
    FakeLauncher,
    FakeProber,
    LitteringProcess,
    NeverReadyProbe,
    SlowLauncher,
    StubbornProcess,
    UnkillableProcess,
    spec_of,
)
from tests.unit.supervision.stage import Stage

INSTANCES = f"{API}/instances"


async def start(site: Site, number: int = 0, name: str = "") -> None:
    await site.fleet.start(spec_of(number, name=name), WaitFor.READY, 5)


async def test_all_are_listed_by_id() -> None:
    async with site_of() as site:
        for number in (2, 0, 1):
            await start(site, number)
        listed = (await site.get(INSTANCES))["instances"]

    assert isinstance(listed, list)
    assert [each["id"] for each in listed] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("main", "0"),
        ("main", "main"),
        ("two words", "two%20words"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("メイン", "%E3%83%A1%E3%82%A4%E3%83%B3"),
        ("{a}", "%7Ba%7D"),
        ("50%", "50%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("a+b", "a+b"),
    ],
)
async def test_an_instance_is_found_by_id_and_by_any_name(name: str, ref: str) -> None:
    async with site_of() as site:
        await start(site, 0, name)
        instance = await site.get(f"{INSTANCES}/{ref}")

    assert (instance["id"], instance["name"]) == (0, name)


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/restart"), ("DELETE", "")],
)
async def test_an_unknown_instance_is_404_with_the_known_ones(method: str, action: str) -> None:
    async with site_of() as site:
        await start(site, 0, "main")
        answer = await site.refused(method, f"{INSTANCES}/nobody{action}")

    assert answer == (404, "unknown_instance", "no instance 'nobody'; there are: 0 'main'")


async def test_a_stop_returns_when_the_instance_has_ended() -> None:
    launcher = FakeLauncher(LitteringProcess)
    async with site_of(world_of(launcher)) as site:
        await start(site)
        asked = asyncio.create_task(site.ask("POST", f"{INSTANCES}/0/stop"))
        await site.stage.until(lambda: "exited" in site.stage.heard())
        waiting = not asked.done()
        process = launcher.process
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        status, instance = await asked

    assert waiting
    assert (status, instance["state"], instance["wanted"]) == (200, "stopped", False)


async def test_a_stop_that_times_out_is_202_and_continues() -> None:
    async with site_of(world_of(FakeLauncher(StubbornProcess))) as site:
        await start(site)
        status, instance = await site.ask("POST", f"{INSTANCES}/0/stop?timeout=0.02")

    assert (status, instance["state"], instance["wanted"]) == (202, "stopping", False)


async def test_a_failed_stop_is_a_500_with_the_reason() -> None:
    async with site_of(world_of(FakeLauncher(UnkillableProcess))) as site:
        await start(site)
        instance = site.fleet.find("0")
        await site.fleet.stop_all(StopEscalation(0.001, 0.002, 0.003))
        answer = await site.refused("POST", f"{INSTANCES}/0/stop")

    assert instance.life.phase == "stuck"
    assert answer == (
        500,
        "stop_failed",
        "cannot stop instance 0 'instance_0': SIGKILL did not end it: pid 4242",
    )


async def test_a_start_of_a_stopped_instance_keeps_its_spec() -> None:
    async with site_of() as site:
        await start(site, 0, "main")
        await site.post(f"{INSTANCES}/main/stop")
        instance = await site.post(f"{INSTANCES}/main/start")

    assert (instance["state"], instance["port"], instance["generation"]) == ("running", 3001, 2)


async def test_a_timed_out_start_is_202() -> None:
    launcher = SlowLauncher()
    async with site_of(world_of(launcher)) as site:
        await site.fleet.start(spec_of(), WaitFor.READY, 0.001)
        status, instance = await site.ask("POST", f"{INSTANCES}/0/start?timeout=0.02")

    assert (status, instance["state"]) == (202, "starting")


async def test_a_start_that_waits_for_spawn_returns_the_process() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        await site.fleet.start(spec_of(), WaitFor.SPAWN, 5)
        instance = await site.post(f"{INSTANCES}/0/start?wait=spawn")

    assert (instance["state"], instance["ready"], instance["pid"]) == ("starting", False, 4242)


async def test_a_failed_start_is_500_with_the_reason() -> None:
    async with site_of(world_of(FailingLauncher(1_000))) as site:
        await start(site)
        answer = await site.refused("POST", f"{INSTANCES}/0/start")

    assert answer == (
        500,
        "start_failed",
        "cannot start instance 0 'instance_0': cannot start: no memory",
    )


async def test_a_refused_start_has_the_status_of_its_code() -> None:
    launcher = FakeLauncher()
    async with site_of(world_of(launcher)) as site:
        await start(site)
        await site.post(f"{INSTANCES}/0/stop")
        launcher.broken_environments = {"comm"}
        answer = await site.refused("POST", f"{INSTANCES}/0/start")

    assert answer == (404, "unknown_environment", "no environment 'comm'")


async def test_a_restart_returns_a_new_process() -> None:
    async with site_of() as site:
        await start(site)
        instance = await site.post(f"{INSTANCES}/0/restart")

    assert (instance["state"], instance["pid"], instance["generation"]) == ("running", 4243, 2)


async def test_a_delete_stops_and_removes_the_instance() -> None:
    launcher = FakeLauncher()
    async with site_of(world_of(launcher)) as site:
        await start(site)
        status, last = await site.ask("DELETE", f"{INSTANCES}/0")
        listed = await site.get(INSTANCES)

    assert (status, last["state"]) == (200, "stopped")
    assert (listed, launcher.living(0)) == ({"instances": []}, 0)


async def test_a_delete_frees_the_name_and_the_port() -> None:
    async with site_of() as site:
        await start(site, 0, "main")
        await site.ask("DELETE", f"{INSTANCES}/0")
        body = {"id": 5, "port": 3001, "name": "main"}
        answer = await site.post(f"{API}/start-single", body)

    assert answer["status"] == "success"


async def test_an_instance_started_during_its_removal_is_kept() -> None:
    launcher = FakeLauncher(LitteringProcess)
    async with site_of(world_of(launcher)) as site:
        await start(site)
        removal = asyncio.create_task(site.refused("DELETE", f"{INSTANCES}/0"))
        await site.stage.until(lambda: "exited" in site.stage.heard())
        again = asyncio.create_task(site.ask("POST", f"{INSTANCES}/0/start"))
        await site.stage.until(lambda: site.fleet.find("0").life.wanted)
        first = launcher.process
        assert isinstance(first, LitteringProcess)
        first.tidied.set()
        answer = await removal
        status, instance = await again

    assert answer[:2] == (409, "started_again")
    assert (status, instance["state"]) == (200, "running")


async def test_a_removal_continues_when_its_caller_disconnects() -> None:
    launcher = FakeLauncher(LitteringProcess)
    async with site_of(world_of(launcher)) as site:
        await start(site)
        removal = asyncio.create_task(site.ask("DELETE", f"{INSTANCES}/0"))
        await site.stage.until(lambda: "exited" in site.stage.heard())
        removal.cancel()
        await asyncio.wait([removal])
        process = launcher.process
        assert isinstance(process, LitteringProcess)
        process.tidied.set()
        await site.stage.until(lambda: "removed" in site.stage.heard())

    assert list(site.fleet) == []
