"""The spec's Python example works as a client of port 8001."""

import importlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.scenarios.harness import Daemon


@pytest.fixture
def client(served: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("COMFYSUP_URL", f"http://127.0.0.1:{served.port}")
    example = importlib.import_module("tests.contracts.clients.python_client")
    with TestClient(importlib.reload(example).app) as client:
        yield client


def instance(number: int, port: int, name: str, **more: object) -> dict[str, object]:
    return {"id": number, "port": port, "name": name, "extra_args": "", "enabled": True} | more


async def test_the_examples_work_in_page_order(served: Daemon, client: TestClient) -> None:
    first, second = served.ports.reserve(), served.ports.reserve()
    several = {
        "environment": "comm",
        "instances": [
            instance(0, first, "comfyui-main"),
            instance(1, second, "comfyui-backup", extra_args="--lowvram"),
        ],
    }

    started = client.post("/api/comfyui/start-instances", json=several).json()

    assert ("completed", "comm", 2, 2) == (
        started["status"],
        started["environment"],
        started["total_instances"],
        started["started_instances"],
    )
    assert ["started", "started"] == [each["status"] for each in started["results"]]

    # The page starts instance 0 again here, under another name: it is renamed.
    quick = client.post("/api/comfyui/start-single", json=instance(0, first, "comfyui-quick"))

    assert 200 == quick.status_code
    assert f"Instance 'comfyui-quick' started on port {first}" == quick.json()["message"]

    status = client.get("/api/comfyui/status").json()

    assert "success" == status["status"]
    assert "comfyui-quick" in status["output"]
    assert "comfyui-main" not in status["output"]

    stopped = client.post("/api/comfyui/stop-all").json()

    assert ("success", "All instances stopped") == (stopped["status"], stopped["message"])
    assert {} == served.processes()


async def test_a_disabled_instance_is_not_started(served: Daemon, client: TestClient) -> None:
    body = {"instances": [instance(0, served.ports.reserve(), "off", enabled=False)]}

    started = client.post("/api/comfyui/start-instances", json=body).json()

    assert ([], 1, 0) == (
        started["results"],
        started["total_instances"],
        started["started_instances"],
    )
    assert {} == served.processes()


async def test_a_failed_start_is_a_500_with_the_reason(served: Daemon, client: TestClient) -> None:
    body = instance(0, served.ports.reserve(), "main")

    answer = client.post("/api/comfyui/start-single?environment=nope", json=body)

    assert 500 == answer.status_code
    assert answer.json()["detail"].startswith("Failed to start instance: ")
    assert "there is no environment 'nope'" in answer.json()["detail"]
