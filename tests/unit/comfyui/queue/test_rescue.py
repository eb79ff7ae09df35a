"""Resubmission of a queue to the next process: scenario 40."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from comfysup.comfyui import client as queue_api
from comfysup.comfyui.client import _read
from comfysup.comfyui.queue.given_up import REMOVED, TOLD_SINGLY
from comfysup.comfyui.queue.prompts import Prompt, parse_queue
from comfysup.model.observed import PromptEventName
from comfysup.model.spec import Rescue
from comfysup.supervision import tasks
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Desk, Serve
from tests.unit.comfyui.queue.server import (
    GRAPH,
    AbsentMindedServer,
    MumblingServer,
    QueueServer,
    RefusingServer,
)


async def owe(desk: Desk, serve: Serve[QueueServer], *ids: str, crashed: bool = False) -> None:
    """End a process with these waiting prompts."""
    before = await serve(QueueServer())
    before.add(*ids)
    desk.watch(before.url)
    await until(lambda: desk.waiting == list(ids))
    await desk.leave()
    await before.close()
    desk.backlog_store.lost(Rescue.ALL, crashed=crashed)


def events_named(desk: Desk, notice: PromptEventName) -> list[str]:
    return [str(each.prompt_id) for each in desk.news if each.name is notice]


async def test_waiting_prompts_are_submitted_again_in_order(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "a", "b", "c")
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["a", "b", "c"]
    assert server.posts[0] == {
        "prompt": GRAPH,
        "prompt_id": "a",
        "extra_data": {"client_id": "c"},
        "client_id": "c",
        "partial_execution_targets": ["1"],
    }
    assert events_named(desk, PromptEventName.RESCUED) == ["a", "b", "c"]
    await until(lambda: desk.waiting == ["a", "b", "c"])


async def test_prompts_known_to_the_new_process_are_not_resubmitted(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "runs", "waits", "done", "owed")
    server = await serve(QueueServer())
    server.add("done", "runs", "waits")
    server.take()
    server.finish()
    server.take()

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["owed"]
    assert not events_named(desk, PromptEventName.GIVEN_UP)


async def test_a_refused_prompt_is_given_up_and_reported(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "a", "bad", "b")
    server = await serve(RefusingServer())

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]
    [given_up] = [each for each in desk.news if each.name is PromptEventName.GIVEN_UP]
    assert (given_up.prompt_id, given_up.reason) == ("bad", "refused")
    assert "Cannot execute: Node ID '#1'" in str(given_up.message)
    assert not desk.owed


async def test_a_prompt_accepted_without_a_response_is_not_submitted_twice(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_api, "PATIENCE", 0.2)
    await owe(desk, serve, "a", "b")
    server = await serve(AbsentMindedServer())

    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b"]
    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]


@pytest.mark.parametrize("answer", [b"<html>", b"", b"[]", b"{}", b'{"prompt_id": null}'])
@pytest.mark.parametrize("takes", [True, False])
async def test_a_response_without_a_prompt_id_leaves_acceptance_undecided(
    desk: Desk,
    serve: Serve[QueueServer],
    answer: bytes,
    takes: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The queue decides: a prompt in it is not resubmitted, and any other is not lost."""
    await owe(desk, serve, "a", "b")
    server = MumblingServer(answer, takes=takes)
    await serve(server)

    with capture_logs() as logged:
        await desk.watch(server.url, period=0.01).rescued.wait()

    assert server.ids == ["a", "b"]
    assert [each["prompt_id"] for each in server.posts] == ["a", *(() if takes else "a"), "b"]
    assert [each["event"] for each in logged if "submitted" in each["event"]] == [
        "queue.not_submitted"
    ]


async def test_a_process_that_dies_during_the_submission_leaves_the_rest_owed(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_api, "PATIENCE", 0.2)
    await owe(desk, serve, "a", "b", "c")
    dying = AbsentMindedServer()
    await serve(dying)
    desk.watch(dying.url)
    await until(lambda: dying.posts)
    await desk.leave()
    await dying.close()
    desk.backlog_store.lost(Rescue.ALL, crashed=True)

    server = await serve(QueueServer())
    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b", "c"]


async def test_nothing_is_submitted_under_a_policy_of_none(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    before = await serve(QueueServer())
    before.add("a")
    desk.watch(before.url)
    await until(lambda: desk.waiting == ["a"])
    desk.backlog_store.lost(Rescue.NONE, crashed=True)
    await desk.leave()

    server = await serve(QueueServer())
    await desk.watch(server.url).rescued.wait()

    assert not server.posts
    assert events_named(desk, PromptEventName.GIVEN_UP) == ["a"]


async def test_the_next_daemon_submits_the_owed_prompts(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "a", "b")
    await desk.backlog_store.kept()
    desk.backlog_store = desk.new_ledger()
    await desk.backlog_store.load()
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b"]


async def test_an_unusual_id_is_resubmitted(desk: Desk, serve: Serve[QueueServer]) -> None:
    strange = ["..", "a/b", "ü?#%", "", "half a pair: \ud83d"]
    for number, each in enumerate(strange):
        content = json.dumps([number, each, GRAPH, {}, ["1"]]).encode()
        prompt = Prompt(number, each, content)
        desk.backlog_store.update(desk.backlog_store.backlog.submitted(prompt, number))
    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert strange == [each["prompt_id"] for each in server.posts]


async def test_a_prompt_known_only_by_its_id_is_given_up_and_the_rest_is_submitted(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    """The daemon died during the submission; the next one continues with the same process."""
    key = {"api_key_comfy_org": "hush"}
    before = await serve(QueueServer())
    before.add("a")
    before.add("keyed", extra_data=key)
    before.add("b")
    desk.watch(before.url)
    await until(lambda: desk.waiting == ["a", "keyed", "b"])
    await desk.leave()
    await before.close()
    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    await desk.backlog_store.kept()
    desk.backlog_store = desk.new_ledger()
    await desk.backlog_store.load()
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]
    [given_up] = [each for each in desk.news if each.name is PromptEventName.GIVEN_UP]
    assert (given_up.prompt_id, given_up.reason) == ("keyed", "held_keys")


@pytest.mark.parametrize("kind", ["API_KEY_COMFY_ORG", ["AUTH_TOKEN_COMFY_ORG"]])
async def test_a_prompt_with_hidden_credentials_is_given_up(
    desk: Desk, serve: Serve[QueueServer], kind: object
) -> None:
    """Newer versions do not expose keys; older ones expose them in `extra_data`."""
    before = await serve(QueueServer())
    before.add("shown", extra_data={"api_key_comfy_org": "hush"})
    before.add("hidden")
    desk.watch(before.url)
    await until(lambda: desk.waiting == ["shown", "hidden"])
    await desk.leave()
    await before.close()
    desk.backlog_store.lost(Rescue.ALL, crashed=False)
    server = QueueServer()
    server.hidden = {"unique_id": "UNIQUE_ID", "key": kind}
    await serve(server)

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["shown"]
    [given_up] = [each for each in desk.news if each.name is PromptEventName.GIVEN_UP]
    assert (given_up.prompt_id, given_up.reason) == ("hidden", "credentials_lost")


async def test_a_prompt_that_ends_process_and_daemon_before_its_response_is_suspected(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    """The file tells the next daemon that it was being submitted."""
    await owe(desk, serve, "poison", crashed=True)
    dying = AbsentMindedServer()
    await serve(dying)
    desk.watch(dying.url)
    await until(lambda: dying.posts)
    await desk.leave()
    desk.backlog_store = desk.new_ledger()
    await desk.backlog_store.load()

    desk.backlog_store.lost(Rescue.ALL, crashed=True)

    [given_up] = desk.news
    assert (given_up.prompt_id, given_up.reason) == ("poison", "crashed_twice")


async def test_a_long_queue_is_given_up_in_few_events(desk: Desk) -> None:
    waiting = tuple(Prompt(number, f"p{number}", b"[]") for number in range(5_000))
    desk.backlog_store.update(replace(desk.backlog_store.backlog, waiting=waiting))

    desk.backlog_store.forget(REMOVED)

    assert len(desk.news) == TOLD_SINGLY + 1
    assert sum(each.count for each in desk.news) == 5_000


async def test_a_history_too_large_to_be_read_counts_as_executed(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history is empty for a prompt that was not executed."""
    await owe(desk, serve, "large", "waits")
    server = await serve(QueueServer())
    server.add("large")
    server.take()
    server.finish()
    server.history["large"]["outputs"] = "x" * 5000
    monkeypatch.setattr(queue_api, "_read", partial(_read_at_most, 4096))

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["waits"]


async def _read_at_most(most: int, content: aiohttp.StreamReader, _limit: int) -> bytes | None:
    return await _read(content, most)


async def test_an_internal_error_of_a_watcher_is_followed_by_a_restart(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    server = await serve(QueueServer())
    watcher = desk.watch(server.url)
    await until(lambda: watcher.is_known)
    defects = iter([ZeroDivisionError, ZeroDivisionError])

    def break_twice(*arguments: Any) -> object:  # noqa: ANN401 - whatever it takes
        if defect := next(defects, None):
            raise defect
        return parse_queue(*arguments)

    monkeypatch.setattr(queue_api, "parse_queue", break_twice)
    server.add("new")

    await until(lambda: desk.waiting == ["new"] and watcher.is_known)
    assert next(defects, None) is None
