"""Two instances of one environment: scenario 43."""

import asyncio
import json
from typing import Any

import aiohttp

from comfysup.demo.workspace import build_environment
from tests.scenarios.harness import Daemon

PREVIEW = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


async def preview(port: int) -> str:
    """Run a workflow, and return the name of its preview file."""
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(url) as client:
        async with client.post("/prompt", json={"prompt": PREVIEW}) as answer:
            number = (await answer.json())["prompt_id"]
        history: dict[str, Any] = {}
        while number not in history:
            async with client.get(f"/history/{number}") as answer:
                history = await answer.json()
            await asyncio.sleep(0.01)
    [image] = history[number]["outputs"]["2"]["images"]
    name: str = image["filename"]
    return name


async def test_the_end_of_one_leaves_the_others_previews_and_database(daemon: Daemon) -> None:
    """Scenario 43: by a stop, by a crash and by a restart, all of which delete temp directories."""
    environment = build_environment(daemon.workspace, "comm")
    await daemon.start()
    ports = [daemon.ports.reserve() for _ in range(2)]
    for number, port in enumerate(ports):
        assert (await daemon.api.start(number, port)).status == 200
    names = [await preview(port) for port in ports]
    kept, lost = [next(environment.rglob(f"{n}/temp/{name}")) for n, name in enumerate(names)]
    databases = sorted(environment.joinpath("user").glob("*.db"))

    seen = []
    for act in ("restart", "stop", "start"):
        assert (await daemon.api.act(1, act)).status == 200
        seen.append(kept.exists())

    assert seen == [True, True, True]
    assert not lost.exists()
    assert len(databases) == 2
    assert all(database.exists() for database in databases)
    assert (await daemon.api.show(0))["generation"] == 1


async def test_two_daemons_on_one_workspace_share_neither_temp_files_nor_databases(
    daemon: Daemon,
) -> None:
    """The same id in two containers with one volume."""
    environment = build_environment(daemon.workspace, "comm")
    await daemon.start()
    other = Daemon()
    other.workspace = daemon.workspace
    try:
        await other.start(variables={"COMFYSUP_LOG_DIR": str(other.root / "logs")})
        names = []
        for each in (daemon, other):
            port = each.ports.reserve()
            assert (await each.api.start(0, port)).status == 200
            names.append(await preview(port))
        kept, lost = [next(environment.rglob(f"temp/{name}")) for name in names]
        databases = sorted(environment.joinpath("user").glob("*.db"))
        (trouble,) = await other.api.troubles()

        assert (await other.api.act(0, "restart")).status == 200
        assert kept.exists()
        assert not lost.exists()
        assert len(databases) == 2
        assert "share environments" in trouble
        assert await daemon.api.troubles() == []
        for each in (daemon, other):  # `close` counts the whole workspace
            await each.api.ask("POST", "/api/comfyui/stop-all")
    finally:
        await other.close()


async def test_an_environment_without_the_flags_for_separate_files_runs(daemon: Daemon) -> None:
    """Scenario 43: an older ComfyUI would refuse flags that it does not know."""
    build_environment(daemon.workspace, "comm", missing_flags=("--database-url",))
    await daemon.start()

    answer = await daemon.api.start(0, daemon.ports.reserve())

    assert answer.status == 200, answer
    assert json.dumps(answer.body["instance"]["extra_args"]) == "[]"
