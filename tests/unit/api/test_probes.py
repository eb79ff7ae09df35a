"""`livez` and `readyz`: for probes of containers, which have no token."""

import pytest

from comfysup.supervision.lifecycle_events import WaitFor
from tests.unit.api.site import API, World, site_of, world_of
from tests.unit.supervision.fakes import FailingLauncher, FakeProber, NeverReadyProbe, spec_of
from tests.unit.supervision.stage import Stage


async def test_livez_does_not_depend_on_the_instances() -> None:
    async with site_of(world_of(FailingLauncher(1_000))) as site:
        await site.fleet.start(spec_of(), WaitFor.READY, 5)
        answer = await site.get("/livez")

    assert answer == {"status": "live"}


async def test_readyz_succeeds_without_wanted_instances() -> None:
    async with site_of() as site:
        answer = await site.get("/readyz")

    assert answer == {"status": "ready", "waiting_for": [], "troubles": []}


async def test_readyz_succeeds_when_all_wanted_instances_run() -> None:
    async with site_of() as site:
        await site.fleet.start(spec_of(0), WaitFor.READY, 5)
        await site.fleet.start(spec_of(1), WaitFor.READY, 5)
        await site.post(f"{API}/instances/1/stop")
        answer = await site.get("/readyz")

    assert answer == {"status": "ready", "waiting_for": [], "troubles": []}


async def test_readyz_fails_while_an_instance_loads() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        await site.fleet.start(spec_of(), WaitFor.SPAWN, 5)
        answer = await site.ask("GET", "/readyz")

    waiting_for = ["0 'instance_0': starting"]
    assert answer == (
        503,
        {"status": "not_ready", "waiting_for": waiting_for, "troubles": []},
    )


async def test_readyz_fails_while_an_enabled_entry_is_missing_from_the_table() -> None:
    async with site_of(World(shortfall=["1 'b': unknown_environment"])) as site:
        await site.fleet.start(spec_of(0), WaitFor.READY, 5)
        status, answer = await site.ask("GET", "/readyz")

    assert (status, answer["waiting_for"]) == (503, ["1 'b': unknown_environment"])


async def test_troubles_are_reported_without_affecting_readiness() -> None:
    async with site_of(World(troubles=["cannot write /x: No space left on device"])) as site:
        answer = await site.ask("GET", "/readyz")

    assert answer == (
        200,
        {
            "status": "ready",
            "waiting_for": [],
            "troubles": ["cannot write /x: No space left on device"],
        },
    )


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_a_probe_may_ask_by_head(path: str) -> None:
    async with site_of() as site, site.client.head(path) as answer:
        body = await answer.read()

    assert (answer.status, body) == (200, b"")
