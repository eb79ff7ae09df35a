"""Backlog files: they outlive the daemon, and contain no secrets."""

import json
from dataclasses import replace

import pytest

from comfysup.comfyui.queue.backlog import Backlog
from comfysup.comfyui.queue.backlog_file import dump, load
from comfysup.comfyui.queue.prompts import Prompt, RunningPrompt
from comfysup.model.spec import Rescue

ENTRY = [7.5, "a", {"1": {"class_type": "X", "inputs": {"text": "ü\n\u2028"}}}, {}, ["1"]]


def prompt(number: float, prompt_id: str) -> Prompt:
    content = json.dumps([number, prompt_id, *ENTRY[2:]]).encode()
    return Prompt(number, prompt_id, content)


FULL = Backlog(
    pid=42,
    running=(RunningPrompt(prompt(0, "r"), since=123.25),),
    waiting=(prompt(1, "a"), prompt(2.5, "b")),
    drained=(prompt(3, "c"),),
    owed=(prompt(-4, "d"), prompt(5, "é\n")),
    struck=frozenset({"d"}),
)


def test_a_backlog_is_read_as_written() -> None:
    assert load(dump(FULL, "life"), "life") == FULL
    assert load(dump(Backlog(), "life"), "life") == Backlog()
    marked = replace(FULL, silent=True, ended=True, overdue=True, choice=Rescue.WAITING)
    assert load(dump(marked, "life"), "life") == marked


def test_a_backlog_of_another_boot_is_ignored() -> None:
    assert load(dump(FULL, "one"), "other") is None


def test_a_secret_is_not_written_and_its_prompt_reported_afterwards() -> None:
    entry = json.dumps([1, "s", {}, {"api_key_comfy_org": "hush"}, []]).encode()
    backlog = replace(FULL, waiting=(Prompt(1, "s", entry, secret=True),))

    written = dump(backlog, "life")
    read = load(written, "life")

    assert b"hush" not in written
    assert read is not None
    _, given_up = read.lost(Rescue.ALL, crashed=False)
    assert [(each.prompt_id, each.reason) for each in given_up] == [("s", "held_keys")]


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"form": 2}',
        b'{"life": 1',
        dump(FULL, "life")[:200],
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_invalid_content_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        load(written, "life")


def test_a_backlog_of_another_version_is_read() -> None:
    members = json.loads(dump(FULL, "life"))
    members.update(form=2, novelty=[1])
    members["waiting"][0]["novelty"] = 1
    del members["struck"], members["drained"]

    lost: list[str] = []
    read = load(json.dumps(members).encode(), "life", lost.append)

    assert read == replace(FULL, struck=frozenset(), drained=())
    assert not lost


def test_an_unreadable_prompt_does_not_affect_the_others() -> None:
    members = json.loads(dump(FULL, "life"))
    members["waiting"][0]["number"] = "x"
    members["running"][0] = None
    members["owed"] = {}

    lost: list[str] = []
    read = load(json.dumps(members).encode(), "life", lost.append)

    assert read == replace(FULL, waiting=FULL.waiting[1:], running=(), owed=())
    assert lost == ["running[0]", "waiting[0]", "owed"]
