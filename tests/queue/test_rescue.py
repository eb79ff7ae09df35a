"""What the next process is given of the last one's queue: scenario 40."""

import json

import pytest

from comfysup.comfyui import queue_api
from comfysup.comfyui.ledger import PromptNotice
from comfysup.comfyui.prompts import Prompt
from comfysup.supervision.spec import Rescue
from tests.queue.conftest import Desk, Serve
from tests.queue.server import GRAPH, AbsentMindedServer, QueueServer, RefusingServer
from tests.scenarios.waiting import until


async def owe(desk: Desk, serve: Serve[QueueServer], *ids: str, crashed: bool = False) -> None:
    """Lets a process end with these waiting."""
    before = await serve(QueueServer())
    before.add(*ids)
    desk.watch(before.url)
    await until(lambda: desk.waiting == list(ids))
    await desk.leave()
    await before.close()
    desk.ledger.lost(Rescue.ALL, crashed=crashed)


def told(desk: Desk, notice: PromptNotice) -> list[str]:
    return [each.prompt_id for each in desk.news if each.notice is notice]


async def test_what_waited_is_handed_in_again_in_order(
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
    assert told(desk, PromptNotice.RESCUED) == ["a", "b", "c"]
    await until(lambda: desk.waiting == ["a", "b", "c"])


async def test_what_the_process_has_or_had_is_not_handed_in(
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
    assert not told(desk, PromptNotice.GIVEN_UP)


async def test_what_is_refused_is_given_up_and_said_to_be(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "a", "bad", "b")
    server = await serve(RefusingServer())

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]
    [given_up] = [each for each in desk.news if each.notice is PromptNotice.GIVEN_UP]
    assert (given_up.prompt_id, given_up.reason) == ("bad", "refused")
    assert "Cannot execute: Node ID '#1'" in str(given_up.message)
    assert not desk.owed


async def test_what_was_taken_without_an_answer_is_not_handed_in_twice(
    desk: Desk, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_api, "PATIENCE", 0.2)
    await owe(desk, serve, "a", "b")
    server = await serve(AbsentMindedServer())

    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b"]
    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]


async def test_a_process_that_dies_meanwhile_leaves_the_rest_owed(
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
    desk.ledger.lost(Rescue.ALL, crashed=True)

    server = await serve(QueueServer())
    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b", "c"]


async def test_nothing_is_handed_in_under_a_policy_of_none(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    before = await serve(QueueServer())
    before.add("a")
    desk.watch(before.url)
    await until(lambda: desk.waiting == ["a"])
    desk.ledger.lost(Rescue.NONE, crashed=True)
    await desk.leave()

    server = await serve(QueueServer())
    await desk.watch(server.url).rescued.wait()

    assert not server.posts
    assert told(desk, PromptNotice.GIVEN_UP) == ["a"]


async def test_the_next_daemon_hands_in_what_the_last_one_owed(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    await owe(desk, serve, "a", "b")
    await desk.ledger.kept()
    desk.ledger = desk.new_ledger()
    await desk.ledger.load()
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert server.ids == ["a", "b"]


async def test_a_strange_id_is_no_hindrance(desk: Desk, serve: Serve[QueueServer]) -> None:
    strange = ["..", "a/b", "ü?#%", ""]
    for number, each in enumerate(strange):
        content = json.dumps([number, each, GRAPH, {}, ["1"]]).encode()
        prompt = Prompt(number, each, content)
        desk.ledger.update(desk.ledger.backlog.handed_in(prompt, number))
    desk.ledger.lost(Rescue.ALL, crashed=False)
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert strange == [each["prompt_id"] for each in server.posts]


async def test_one_that_only_its_id_is_known_of_is_given_up_and_the_rest_goes_on(
    desk: Desk, serve: Serve[QueueServer]
) -> None:
    """The daemon died while it handed in; the next one goes on with the same process."""
    key = {"api_key_comfy_org": "hush"}
    before = await serve(QueueServer())
    before.add("a")
    before.add("keyed", extra_data=key)
    before.add("b")
    desk.watch(before.url)
    await until(lambda: desk.waiting == ["a", "keyed", "b"])
    await desk.leave()
    await before.close()
    desk.ledger.lost(Rescue.ALL, crashed=False)
    await desk.ledger.kept()
    desk.ledger = desk.new_ledger()
    await desk.ledger.load()
    server = await serve(QueueServer())

    await desk.watch(server.url).rescued.wait()

    assert [each["prompt_id"] for each in server.posts] == ["a", "b"]
    [given_up] = [each for each in desk.news if each.notice is PromptNotice.GIVEN_UP]
    assert (given_up.prompt_id, given_up.reason) == ("keyed", "held_keys")
