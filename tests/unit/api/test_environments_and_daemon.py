"""Environments and the daemon over HTTP."""

from dataclasses import replace

from tests.scenarios.waiting import HANG
from tests.unit.api.site import API, COMM, World, site_of
from tests.unit.supervision.fakes import spec_of


async def test_environments_report_usability_and_problems() -> None:
    broken = replace(COMM, name="aua-sp", problems=("no main.py",), notes=())
    async with site_of(World(environments=[broken, COMM])) as site:
        answer = await site.get(f"{API}/environments")

    found = answer["environments"]
    assert isinstance(found, list)
    assert [(each["name"], each["usable"], each["problems"]) for each in found] == [
        ("aua-sp", False, ["no main.py"]),
        ("comm", True, []),
    ]
    assert found[1] == {
        "name": "comm",
        "path": "/workspace/ComfyUI-comm",
        "usable": True,
        "problems": [],
        "notes": ["/workspace/ComfyUI-comm/models does not exist"],
        "comfyui_version": "0.3.64",
        "python_version": None,
        "torch_version": None,
        "custom_nodes": ["ComfyUI-Manager"],
        "models_link": None,
    }


async def test_the_daemon_describes_itself() -> None:
    async with site_of(World(autolaunch_pending=[spec_of(0)])) as site:
        answer = await site.get(f"{API}/daemon")

    uptime = answer.pop("uptime_seconds")
    assert isinstance(uptime, float)
    assert 9 <= uptime < 9 + HANG
    assert answer == {
        "version": "1.2.3",
        "pid": 42,
        "started_at": "2001-09-09T01:46:40.000Z",
        "troubles": [],
        "autolaunch_pending": [0],
        "process_handles": "pidfd",
        "settings": {"port": 8001},
    }
