"""Parsing of the response of /queue."""

import json
import re
from typing import Any

import pytest

from comfysup.comfyui.queue.prompts import (
    MAX_ID_CHARS,
    Prompt,
    holds_secret,
    parse_queue,
    submission_body,
)

GRAPH = {"1": {"class_type": "X", "inputs": {"seconds": 1}}}


def entry(number: float, prompt_id: str, **extra: object) -> list[Any]:
    return [number, prompt_id, GRAPH, {"client_id": "c", **extra}, ["1"]]


def answer(running: list[Any], pending: list[Any]) -> bytes:
    return json.dumps({"queue_running": running, "queue_pending": pending}).encode()


def test_waiting_prompts_are_in_execution_order_not_in_heap_order() -> None:
    numbers = [-14, 0.0, 7.5, 13, 7.5, 12, 17]
    heap = [entry(number, f"p{place}") for place, number in enumerate(numbers)]

    queue = parse_queue(answer([entry(1, "r")], heap), {})

    assert [each.id for each in queue.running] == ["r"]
    assert [each.id for each in queue.waiting] == ["p0", "p1", "p2", "p4", "p5", "p3", "p6"]


def test_a_prompt_is_submitted_unchanged_but_without_its_number() -> None:
    queue = parse_queue(answer([], [entry(7.5, "a", extra_pnginfo={"workflow": {}})]), {})

    assert submission_body(queue.waiting[0]) == {
        "prompt": GRAPH,
        "prompt_id": "a",
        "extra_data": {"client_id": "c", "extra_pnginfo": {"workflow": {}}},
        "client_id": "c",
        "partial_execution_targets": ["1"],
    }


def test_an_entry_of_a_newer_version_may_have_more_items() -> None:
    queue = parse_queue(answer([], [[*entry(0, "a"), {"sensitive": 1}]]), {})

    assert "sensitive" not in submission_body(queue.waiting[0])


def test_an_oversized_id_is_shortened_and_its_prompt_not_stored() -> None:
    ids = ["x" * MAX_ID_CHARS, "x" * 4_000_000, "x" * 4_000_000 + "y", "\ud800" * 4_000_000]
    body = answer([], [entry(place, each) for place, each in enumerate(ids)])

    first, *others = parse_queue(body, {}).waiting

    assert (first.id, first.content is None) == (ids[0], False)
    assert len({each.id for each in others}) == len(others)
    assert all(len(each.id) < 2 * MAX_ID_CHARS and each.content is None for each in others)
    assert [each.id for each in others] == [each.id for each in parse_queue(body, {}).waiting[1:]]


def test_a_known_prompt_is_not_read_again() -> None:
    known = Prompt(1, "a", b"kept")
    lost = Prompt(2, "b", None)

    body = answer([], [entry(1, "a"), entry(2, "b"), entry(3, "c")])
    queue = parse_queue(body, {each.key: each for each in (known, lost)})

    assert known is queue.waiting[0]
    assert all(each.content for each in queue.waiting)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"exec_info": {}}', "it has no queue_running"),
        (b'{"queue_running": []}', "it has no queue_pending"),
        (b'{"queue_running": [', "it ends too early"),
        (b'{"queue_running": [[1', "Expecting ',' delimiter"),
        (b'{"queue_running": [1]}', "an entry has an unexpected form"),
        (b'{"queue_running": [[]]}', "an entry has an unexpected form"),
        (b'{"queue_running": [{}]}', "an entry has an unexpected form"),
        (b'{"queue_running": [[1, [], {}, {}, []]]}', "an entry has an unexpected form"),
        (b"<html>", "no { at 0"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_an_invalid_queue_response_raises_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"GET /queue did not return a queue: {reason}")):
        parse_queue(body, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"queue_running": [], "queue_pending": [1]}',
        b'{"queue_running": [], "queue_pending": 3}',
        b'{"queue_running": [], "queue_pending": [[1, "a", {}]]}',
        b'{"queue_running": [], "queue_pending": [["x", "a", {}, {}, []]]}',
        b'{"queue_running": [], "queue_pending": [[NaN, "a", {}, {}, []]]}',
        b'{"queue_running": [], "queue_pending": [[Infinity, "a", {}, {}, []]]}',
        b'{"queue_running": [[-Infinity, "a", {}, {}, []]], "queue_pending": []}',
        b'{"queue_running": [], "queue_pending": [[1e999, "a", {}, {}, []]]}',
        b'{"queue_running": [], "queue_pending": [[1' + b"0" * 400 + b', "a", {}, {}, []]]}',
        b'{"queue_running": [], "queue_pending": [[1, 2',
        b'{"queue_running": [] "queue_pending": []}',
        b'{"queue_running": [], "queue_pending": ' + b"[" * 100_000,
    ],
)
def test_a_response_of_another_program_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_queue(body, {})


@pytest.mark.parametrize(
    "value",
    [
        {"api_key_comfy_org": "x"},
        {"auth_token_comfy_org": "x"},
        {"apiKey": "x"},
        {"extra_pnginfo": {"workflow": {"nodes": [{"hf_token": "x"}]}}},
        {"headers": {"Authorization": "x"}},
        {"widgets_values": [1, "sk-abcdefghijklmnopqrst"]},
        {"widgets_values": ["hf_abcdefghijklmnopqrstuv"]},
    ],
)
def test_a_value_in_the_form_of_a_key_is_a_secret(value: object) -> None:
    assert holds_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        {"client_id": "0123456789abcdef0123456789abcdef"},
        {"api_key": ""},
        {"max_tokens": 77},
        {"token_normalization": "none"},
        {"keyframe": "x", "monkey": "y"},
        {"text": "a portrait, sk-like, token"},
        [None, True, 1.5],
    ],
)
def test_harmless_values_hold_no_secret(value: object) -> None:
    assert not holds_secret(value)
