"""`GET /api/comfyui/status` and the fields of an instance."""

import re
from dataclasses import replace

import pytest

from comfysup.model.observed import ActivePrompt, GpuUsage, QueueFacts, Usage
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.protocols import Condition
from tests.unit.api.site import API, Site, World, one, several, site_of, world_of
from tests.unit.supervision.fakes import (
    FailingLauncher,
    FakeLauncher,
    FakeProber,
    NeverReadyProbe,
    spec_of,
)
from tests.unit.supervision.stage import Stage

STATUS = f"{API}/status"

SHOWN = [
    *("id", "name", "description", "environment", "port", "extra_args", "gpu", "url", "log_file"),
    *("state", "ready", "wanted", "pid", "generation", "started_at", "ready_at"),
    *("uptime_seconds", "startup_seconds", "restarts", "consecutive_failures"),
    *("next_restart_at", "last_exit", "health", "conditions", "queue", "usage"),
]


async def first(site: Site) -> dict[str, object]:
    instances = (await site.get(STATUS))["instances"]
    assert isinstance(instances, list)
    found = instances[0]
    assert isinstance(found, dict)
    return found


async def start(site: Site, number: int = 0) -> None:
    await site.fleet.start(spec_of(number), WaitFor.READY, 5)


async def test_the_status_of_an_empty_fleet_states_that_no_instance_is_known() -> None:
    async with site_of() as site:
        answer = await site.get(STATUS)

    assert answer == {
        "status": "success",
        "output": "No ComfyUI instances are known.\n",
        "instances": [],
        "troubles": [],
    }


async def test_the_fields_of_an_instance_are_in_the_documented_order() -> None:
    async with site_of() as site:
        await start(site)
        instance = await first(site)

    assert list(instance) == SHOWN


async def test_a_running_instance_shows_its_process() -> None:
    async with site_of() as site:
        await start(site)
        instance = await first(site)

    time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    assert time.fullmatch(str(instance["started_at"]))
    assert time.fullmatch(str(instance["ready_at"]))
    assert {name: instance[name] for name in ("state", "ready", "wanted", "pid", "url")} == {
        "state": "running",
        "ready": True,
        "wanted": True,
        "pid": 4242,
        "url": "http://127.0.0.1:3001",
    }
    assert instance["log_file"] == "/workspace/logs/comfyui_instance_0.log"


async def test_unknown_fields_of_an_instance_are_null() -> None:
    world = World(stage=Stage(prober=FakeProber(NeverReadyProbe)))
    async with site_of(world) as site:
        await site.fleet.start(spec_of(), WaitFor.SPAWN, 5)
        instance = await first(site)

    unknown = ("gpu", "ready_at", "startup_seconds", "next_restart_at", "last_exit")
    assert {instance[name] for name in (*unknown, "queue", "usage")} == {None}
    assert instance["health"] == {
        "live": None,
        "checked_at": None,
        "latency_seconds": None,
        "failures": 0,
    }


async def test_a_stopped_instance_has_no_process_and_an_expected_exit() -> None:
    async with site_of() as site:
        await start(site)
        await site.post(f"{API}/instances/0/stop")
        instance = await first(site)

    end = instance["last_exit"]
    assert isinstance(end, dict)
    assert (instance["state"], instance["pid"], instance["uptime_seconds"]) == (
        "stopped",
        None,
        None,
    )
    assert (end["signal"], end["exit_code"], end["expected"]) == ("SIGINT", None, True)
    assert list(end) == [
        *("at", "exit_code", "signal", "expected", "reason", "message", "hint", "log_tail"),
        "prompts",
    ]


async def test_an_instance_in_backoff_shows_the_time_of_its_next_start() -> None:
    async with site_of(world_of(FailingLauncher(1_000))) as site:
        await site.post(f"{API}/start-instances", several(one(backoff_initial=60, backoff_max=60)))
        instance = await first(site)

    assert (instance["state"], instance["consecutive_failures"]) == ("backoff", 1)
    assert instance["next_restart_at"] is not None


async def test_usage_and_queue_have_the_shape_of_the_design() -> None:
    usage = Usage(99.0, 1, 3, (GpuUsage(1, 2),))
    queue = QueueFacts(3, (ActivePrompt("abc", 0.0),))
    world = World(usage=lambda _one: usage, queue=lambda _one: queue)
    async with site_of(world) as site:
        await start(site)
        instance = await first(site)

    assert instance["queue"] == {
        "running": 1,
        "pending": 3,
        "running_prompts": [{"id": "abc", "since": "1970-01-01T00:00:00.000Z"}],
    }
    assert instance["usage"] == {
        "cpu_percent": 99.0,
        "rss_bytes": 1,
        "processes": 3,
        "gpus": [{"index": 1, "memory_bytes": 2}],
    }


async def test_conditions_list_the_problems_of_a_running_instance() -> None:
    async with site_of() as site:
        await start(site)
        before = await first(site)
        instance = site.fleet.find("0")
        instance.note(Condition("custom_node_failed", "the custom node 'x' failed", "remove it"))
        instance.note(Condition("gpu_error", "every prompt fails"))
        after = await first(site)

    assert before["conditions"] == []
    assert after["conditions"] == [
        {
            "code": "custom_node_failed",
            "message": "the custom node 'x' failed",
            "hint": "remove it",
        },
        {"code": "gpu_error", "message": "every prompt fails", "hint": None},
    ]


async def test_the_text_prints_a_shared_hint_once() -> None:
    async with site_of() as site:
        await start(site)
        instance = site.fleet.find("0")
        for code, message, hint in (
            ("custom_node_failed", "node a failed", "update it"),
            ("custom_node_failed", "node b failed", "install 'x'"),
            ("gpu_fault", "every prompt fails", ""),
            ("custom_node_failed", "node c failed", "update it"),
            ("worker_slow", "no prompt runs", ""),
        ):
            instance.note(Condition(code, message, hint))
        output = str((await site.get(STATUS))["output"])

    assert [line.strip() for line in output.splitlines()[2:]] == [
        "problem: node a failed",
        "problem: node c failed",
        "hint: update it",
        "problem: node b failed",
        "hint: install 'x'",
        "problem: every prompt fails",
        "problem: no prompt runs",
    ]


async def test_no_response_contains_values_of_env() -> None:
    async with site_of() as site:
        secret = replace(spec_of(), env=(("API_KEY", "s3cret"),))
        await site.fleet.start(secret, WaitFor.READY, 5)
        answer = await site.get(STATUS)

    assert "s3cret" not in str(answer)


async def test_state_and_pid_are_never_old() -> None:
    launcher = FakeLauncher()
    async with site_of(world_of(launcher)) as site:
        await start(site)
        pids = []
        for _ in range(20):
            await site.post(f"{API}/instances/0/restart")
            pids.append((await first(site))["pid"])

    assert pids == [process.pid for process in launcher.processes[1:]]


async def test_an_unexpected_exit_is_visible_immediately() -> None:
    launcher = FakeLauncher()
    async with site_of(world_of(launcher)) as site:
        await start(site)
        await site.get(STATUS)
        launcher.process.end(1)
        await site.stage.until(lambda: site.fleet.find("0").life.generation == 2)
        instance = await first(site)

    end = instance["last_exit"]
    assert isinstance(end, dict)
    assert (end["exit_code"], end["expected"]) == (1, False)


async def test_the_text_is_a_table_with_a_line_for_each() -> None:
    async with site_of() as site:
        await site.post(f"{API}/start-instances", several(one(0, name="メイン"), one(11)))
        output = (await site.get(STATUS))["output"]

    lines = str(output).splitlines()
    assert lines[0].split() == [
        *("ID", "NAME", "STATE", "PORT", "PID", "ENVIRONMENT", "UPTIME", "RESTARTS"),
        *("QUEUE", "MEMORY", "GPU"),
    ]
    assert lines[1].split()[:6] == ["0", "メイン", "running", "3001", "4242", "comm"]
    assert lines[2].split()[:6] == ["11", "comfyui-11", "running", "3012", "4243", "comm"]


async def test_the_text_prints_reason_and_hint_below_the_row() -> None:
    async with site_of(world_of(FailingLauncher(1_000))) as site:
        await site.post(f"{API}/start-instances", several(one(backoff_initial=60, backoff_max=60)))
        instance = await first(site)
        output = (await site.get(STATUS))["output"]

    end = instance["last_exit"]
    assert isinstance(end, dict)
    lines = str(output).splitlines()
    assert lines[2] == f"    reason: {end['message']}"
    assert lines[-1].startswith("    note: next start in ")


async def test_the_columns_of_the_table_line_up_in_any_script() -> None:
    async with site_of() as site:
        await site.post(f"{API}/start-instances", several(one(0, name="メイン"), one(11)))
        output = (await site.get(STATUS))["output"]

    heading, wide, narrow = str(output).splitlines()[:3]
    # Three characters of that name are two columns wide each.
    assert heading.index("STATE") == narrow.index("running") == wide.index("running") + 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_every_response_forbids_caching_and_type_sniffing(method: str) -> None:
    async with site_of() as site, site.client.request(method, STATUS) as answer:
        headers = answer.headers

    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "comfysup"


async def test_troubles_are_listed_below_the_table() -> None:
    async with site_of(World(troubles=["cannot write /x: full"])) as site:
        answer = await site.get(STATUS)

    assert answer["troubles"] == ["cannot write /x: full"]
    assert str(answer["output"]).endswith("\ncomfysup cannot write /x: full\n")
