"""`POST /api/comfyui/stop-all`: all instances end in bounded time."""

import pytest

from comfysup.api.routes import instances as routes
from comfysup.supervision.stop_escalation import KILL_PATIENCE, StopEscalation
from tests.scenarios.waiting import bounded
from tests.unit.api.site import API, one, several, site_of, world_of
from tests.unit.supervision.fakes import FakeLauncher, StubbornProcess, UnkillableProcess

STOP = f"{API}/stop-all"
START = f"{API}/start-instances"


async def test_the_answer_has_the_shape_of_the_spec() -> None:
    async with site_of() as site:
        await site.post(START, several(one(0), one(1)))
        answer = await site.post(STOP)

    assert answer == {
        "status": "success",
        "message": "All instances stopped",
        "output": "Instance 0 'comfyui-0' stopped\nInstance 1 'comfyui-1' stopped\n",
    }


async def test_a_stop_of_no_instances_succeeds() -> None:
    async with site_of() as site:
        answer = await site.post(STOP)

    assert (answer["status"], answer["output"]) == ("success", "No ComfyUI instances are known.\n")


async def test_stop_all_ignores_its_body() -> None:
    async with site_of() as site:
        answer = await site.post(STOP, {"force": True})

    assert answer["status"] == "success"


async def test_a_stuck_instance_is_reported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "STOP_ALL_ESCALATION", StopEscalation(0.01, 0.02, 0.03))
    launcher = FakeLauncher()
    async with site_of(world_of(launcher)) as site:
        await site.post(START, several(one(0)))
        launcher.make = UnkillableProcess
        await site.post(START, several(one(1)))
        answer = await site.refused("POST", STOP)

    status, code, detail = answer
    assert (status, code) == (500, "stop_failed")
    assert detail.splitlines() == [
        "cannot stop all instances:",
        "Instance 1 'comfyui-1' could not be stopped: SIGKILL did not end it: pid 4243",
    ]


async def test_a_longer_grace_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "STOP_ALL_ESCALATION", StopEscalation(0.01, 0.02, 5))
    async with site_of(world_of(FakeLauncher(StubbornProcess))) as site, bounded():
        await site.post(START, several(one(stop_grace=3600)))
        answer = await site.post(STOP)

    assert answer["status"] == "success"


async def test_stop_all_responds_at_its_limit_while_instances_are_still_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "STOP_ALL_PATIENCE", 0.01)
    async with site_of(world_of(FakeLauncher(UnkillableProcess))) as site:
        await site.post(START, several(one()))
        answer = await site.refused("POST", STOP)

    assert answer[:2] == (500, "stop_failed")


def test_the_longest_escalation_leaves_time_for_the_answer() -> None:
    escalation = routes.STOP_ALL_ESCALATION
    default = StopEscalation.of(10.0)

    assert escalation.terminate < escalation.kill < escalation.give_up
    assert escalation.give_up - escalation.kill == KILL_PATIENCE
    assert default.hurried(escalation).terminate == default.terminate
    assert escalation.give_up + KILL_PATIENCE < routes.STOP_ALL_PATIENCE < 24.5
