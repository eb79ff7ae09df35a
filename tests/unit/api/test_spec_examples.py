"""The requests of spec/external-api.md, unchanged and in page order."""

from tests.unit.api.site import API, Site, World, site_of
from tests.unit.supervision.stage import Stage

SEVERAL = {
    "environment": "comm",
    "instances": [
        {"id": 0, "port": 3001, "name": "comfyui-main", "extra_args": "", "enabled": True},
        {
            "id": 1,
            "port": 3005,
            "name": "comfyui-backup",
            "extra_args": "--lowvram",
            "enabled": True,
        },
    ],
}
SINGLE = {"id": 0, "port": 3001, "name": "comfyui-quick", "extra_args": "", "enabled": True}


async def test_all_work_one_after_the_other() -> None:
    stage = Stage()
    async with site_of(World(stage=stage)) as site:
        several = await site.post(f"{API}/start-instances", SEVERAL)
        single = await site.post(f"{API}/start-single", SINGLE)
        status = await site.get(f"{API}/status")
        stopped = await site.post(f"{API}/stop-all")
        left = await names_and_states(site)

    assert (several["status"], several["started_instances"]) == ("completed", 2)
    assert single["message"] == "Instance 'comfyui-quick' started on port 3001"
    assert status["status"] == "success"
    assert stopped["message"] == "All instances stopped"
    assert left == [("comfyui-quick", "stopped"), ("comfyui-backup", "stopped")]


async def names_and_states(site: Site) -> list[tuple[object, object]]:
    found = (await site.get(f"{API}/instances"))["instances"]
    assert isinstance(found, list)
    return [(each["name"], each["state"]) for each in found]
