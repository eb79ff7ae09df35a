"""Linking the models of an environment over HTTP."""

import asyncio

import pytest

from comfysup.model.environment import LeftBehind, LinkReport
from comfysup.supervision.protocols import RefusedError
from tests.scenarios.waiting import bounded
from tests.unit.api.site import API, Site, World, one, site_of, world_of
from tests.unit.supervision.fakes import FailingLauncher, LitteringProcess, SlowLauncher
from tests.unit.supervision.fakes import FakeLauncher as Launcher

LINK = f"{API}/environments/comm/link"


async def start(site: Site) -> None:
    await site.post(f"{API}/start-single?environment=comm&wait=spawn", one())


async def test_the_response_of_a_link_lists_actions_and_leftovers() -> None:
    names: list[str] = []

    async def link(name: str) -> LinkReport:
        names.append(name)
        left = [LeftBehind("/w/models/x", "it is a link to /x")]
        return LinkReport(done=["made /w/shared-models"], moved=["/w/a"], aside=["/w/b"], left=left)

    async with site_of(World(link=link)) as site:
        answer = await site.post(LINK)

    assert names == ["comm"]
    assert answer == {
        "environment": "comm",
        "linked": False,
        "done": ["made /w/shared-models"],
        "moved": ["/w/a"],
        "aside": ["/w/b"],
        "left": [{"path": "/w/models/x", "reason": "it is a link to /x"}],
    }


async def test_linking_is_refused_while_an_instance_runs() -> None:
    async with site_of() as site:
        await start(site)
        refused = await site.refused("POST", LINK)
        await site.post(f"{API}/instances/0/stop")
        answer = await site.post(LINK)

    assert refused == (
        409,
        "environment_in_use",
        "cannot link the models of 'comm': stop instance 0 'comfyui-0' first",
    )
    assert answer["linked"]


@pytest.mark.parametrize("launcher", [SlowLauncher, lambda: FailingLauncher(1000)])
async def test_linking_is_refused_while_an_instance_starts_or_waits(
    launcher: type[Launcher],
) -> None:
    async with site_of(world_of(launcher())) as site:
        asking = asyncio.create_task(site.ask("POST", f"{API}/start-single", one()))
        await site.stage.until(lambda: bool(list(site.fleet)))

        assert (await site.refused("POST", LINK))[1] == "environment_in_use"
        asking.cancel()
        await asyncio.wait([asking])


async def test_linking_is_refused_while_descendants_of_an_instance_run() -> None:
    launcher = Launcher(LitteringProcess)
    async with site_of(world_of(launcher)) as site:
        await start(site)
        stopping = asyncio.create_task(site.ask("POST", f"{API}/instances/0/stop"))
        await site.stage.until(lambda: "exited" in site.stage.heard())

        assert (await site.refused("POST", LINK))[1] == "environment_in_use"
        assert isinstance(launcher.process, LitteringProcess)
        launcher.process.tidied.set()
        await stopping


async def test_an_instance_of_another_environment_does_not_prevent_linking() -> None:
    async with site_of() as site:
        await start(site)

        assert (await site.post(f"{API}/environments/aua-sp/link"))["environment"] == "aua-sp"


async def test_an_unknown_environment_is_refused() -> None:
    async def link(name: str) -> LinkReport:
        raise RefusedError("unknown_environment", f"there is no environment {name!r}")

    async with site_of(World(link=link)) as site:
        assert (await site.refused("POST", LINK))[:2] == (404, "unknown_environment")


async def test_linking_continues_when_its_caller_disconnects() -> None:
    begun, release, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def link(_name: str) -> LinkReport:
        begun.set()
        await release.wait()
        done.set()
        return LinkReport(linked=True)

    async with site_of(World(link=link)) as site:
        asking = asyncio.create_task(site.ask("POST", LINK))
        await begun.wait()
        asking.cancel()
        await asyncio.wait([asking])
        release.set()

        async with bounded():
            await done.wait()
        assert asking.cancelled()
        assert done.is_set()
