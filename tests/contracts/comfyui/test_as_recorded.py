"""The stand-in compared with the recorded responses of ComfyUI 0.3.64 (`comfyui-0.3.64.json`)."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from comfysup.demo import arguments
from tests.contracts.comfyui.conftest import Start
from tests.contracts.comfyui.running import PREVIEW

RECORDED = json.loads(Path(__file__).with_name("comfyui-0.3.64.json").read_text())
REFUSED = [name for name in RECORDED if name.startswith("refused_")]


def shape(value: object) -> Any:  # noqa: ANN401 - as nested as the value
    """Return names and types without values; all numbers are one type."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


async def told(
    receive: Callable[[], Awaitable[dict[str, Any]]], like: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while len(messages) < len(like):
        message = await receive()
        if message["type"] not in {"progress", "progress_state"}:
            messages.append(message)
    return messages


@pytest.mark.parametrize("name", ["prompt", "empty_queue", "unknown_history", "other_origin"])
async def test_an_idle_one_answers_as_comfyui_did(start: Start, name: str) -> None:
    path = {"empty_queue": "/queue", "unknown_history": "/history/nope"}.get(name, "/prompt")
    headers = {"Origin": "http://other.example"} if name == "other_origin" else {}
    running = await (await start()).ready()

    assert RECORDED[name] == await running.ask("GET", path, headers=headers)
    assert RECORDED[name] == await running.ask("GET", f"/api{path}", headers=headers)


async def test_system_stats_have_the_recorded_shape(start: Start) -> None:
    running = await (await start("--cpu", "--listen", "127.0.0.1")).ready()
    recorded = shape(RECORDED["system_stats"]["body"])
    answer = await running.ask("GET", "/system_stats")

    assert recorded["devices"] == shape(answer["body"]["devices"])
    system = answer["body"]["system"]
    given = ["main.py", "--port", str(running.port), "--cpu", "--listen", "127.0.0.1"]
    assert given == system["argv"]
    assert {**recorded["system"], "argv": 0} == {**shape(system), "argv": 0}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_of_a_prompt_is_as_recorded(start: Start, name: str) -> None:
    recorded = RECORDED[name]
    running = await (await start()).ready()

    answer = await running.ask("POST", "/prompt", json=recorded["sent"])

    assert {"status": recorded["status"], "body": recorded["body"]} == answer


async def test_bodies_that_are_no_json_are_the_servers_own_error(start: Start) -> None:
    running = await (await start()).ready()

    assert RECORDED["bad_json"] == await running.ask("POST", "/prompt", data=b"{")
    assert RECORDED["bad_queue_json"] == await running.ask("POST", "/queue", data=b"{")


async def test_the_queue_is_changed_with_an_empty_answer(start: Start) -> None:
    running = await (await start()).ready()

    delete = await running.ask("POST", "/queue", json={"delete": ["x"]})
    assert RECORDED["delete_unknown"] == delete
    assert RECORDED["clear"] == await running.ask("POST", "/queue", json={"clear": True})
    assert RECORDED["interrupt"] == await running.ask("POST", "/interrupt")


async def test_messages_and_history_of_a_prompt_match_the_recording(start: Start) -> None:
    running = await (await start()).ready()
    data = {"kept": 1, "api_key_comfy_org": "secret"}

    connect = running.client.ws_connect
    async with (
        connect(running.url("/ws?clientId=caller")) as caller,
        connect(running.url("/ws?clientId=observer")) as observer,
    ):
        accepted = await running.submit(
            PREVIEW, prompt_id="one", client_id="caller", extra_data=data
        )
        for_caller = await told(caller.receive_json, RECORDED["caller_messages"])
        for_observer = await told(observer.receive_json, RECORDED["observer_messages"])
    history = await running.ask("GET", "/history/one")

    assert RECORDED["accepted"] == accepted
    assert shape(RECORDED["caller_messages"]) == shape(for_caller)
    assert [m["type"] for m in RECORDED["caller_messages"]] == [m["type"] for m in for_caller]
    assert RECORDED["observer_messages"] == for_observer
    assert shape(RECORDED["history"]) == shape(history)
    assert RECORDED["history"]["body"]["one"]["prompt"] == history["body"]["one"]["prompt"]


def test_the_written_arguments_are_those_that_are_parsed() -> None:
    text = arguments.source()

    for flag in arguments.FLAGS:
        assert f'add_argument("{flag.name}"' in text
    assert arguments.parse(["--temp-dir", "x"]).temp_directory == "x"  # it abbreviates
