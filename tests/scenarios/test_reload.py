"""Reloads of instances.json by a real daemon: scenario 49 and similar ones."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

import aiohttp
import pytest

from tests.scenarios.client import API, Answer
from tests.scenarios.harness import Daemon
from tests.scenarios.programs import Program
from tests.scenarios.waiting import until, until_async
from tests.unit.api.streams import Event, following


class File:
    """The daemon's instances.json."""

    def __init__(self, daemon: Daemon) -> None:
        self.path = daemon.root / "instances.json"
        self._daemon = daemon

    def write(self, *instances: dict[str, Any]) -> None:
        self.path.write_text(json.dumps({"instances": instances}))

    def replace(self, text: str) -> None:
        """Replace the file atomically."""
        draft = self.path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.path)

    async def reload(self, *instances: dict[str, Any]) -> dict[str, list[int]]:
        """Write and reload; return the ids of each list that is not empty."""
        self.write(*instances)
        return ids(await reload(self._daemon))


async def reload(daemon: Daemon) -> Answer:
    return await daemon.api.ask("POST", f"{API}/reload")


def ids(answer: Answer) -> dict[str, list[int]]:
    assert answer.status == 200, answer
    lists = ("started", "stopped", "restarted", "updated", "left_alone", "failed")
    return {name: [each["id"] for each in answer.body[name]] for name in lists if answer.body[name]}


def long_text(port: int, word: str, fillers: int) -> str:
    """A file with the word in all of its parts, and one enabled instance."""
    filler = [{"id": 10 + n, "enabled": False, "description": word * 100} for n in range(fillers)]
    instance = {"id": 0, "port": port, "description": word}
    return json.dumps({"instances": [*filler, instance]}) + f"// {word}"


@contextmanager
def replacing(file: File, texts: Sequence[str]) -> Iterator[None]:
    """Replace the file by the texts in turn, without a pause."""
    going_on = True

    def replace_for_ever() -> None:
        while going_on:
            for text in texts:
                file.replace(text)

    thread = Thread(target=replace_for_ever)
    thread.start()
    try:
        yield
    finally:
        going_on = False
        thread.join()


@pytest.fixture
async def file(daemon: Daemon) -> File:
    """The file of a running daemon with one environment and no instance."""
    Program(daemon.workspace)
    await daemon.start()
    return File(daemon)


async def test_the_table_follows_the_file(daemon: Daemon, file: File) -> None:
    ports = [daemon.ports.reserve() for _ in range(4)]
    first, second, third = ({"id": number, "port": ports[number]} for number in range(3))
    mine = daemon.ports.reserve()
    await daemon.api.start(9, mine)

    assert await file.reload(first, second) == {"started": [0, 1], "left_alone": [9]}
    pids = {each["id"]: each["pid"] for each in await daemon.api.show_all()}
    assert await file.reload(first, second) == {"left_alone": [0, 1, 9]}
    done = await file.reload({**first, "description": "x"}, {**second, "port": ports[3]}, third)

    assert done == {"started": [2], "restarted": [1], "updated": [0], "left_alone": [9]}
    shown = {each["id"]: each for each in await daemon.api.show_all()}
    assert shown[0]["pid"] == pids[0]
    assert shown[0]["description"] == "x"
    assert shown[1]["pid"] != pids[1]
    assert shown[1]["port"] == ports[3]
    assert shown[9]["pid"] == pids[9]
    assert await file.reload() == {"stopped": [0, 1, 2], "left_alone": [9]}
    assert list(daemon.processes()) == [pids[9]]


async def test_ports_and_names_are_swapped_in_one_reload(daemon: Daemon, file: File) -> None:
    one, two = daemon.ports.reserve(), daemon.ports.reserve()
    await file.reload({"id": 0, "port": one, "name": "a"}, {"id": 1, "port": two, "name": "b"})

    done = await file.reload(
        {"id": 0, "port": two, "name": "b"}, {"id": 1, "port": one, "name": "a"}
    )

    assert done == {"restarted": [0, 1]}
    for number, port, name in ((0, two, "b"), (1, one, "a")):
        shown = await daemon.api.until(number, state="running")
        assert (shown["port"], shown["name"], shown["generation"]) == (port, name, 2)


async def test_a_reload_stops_an_autolaunched_instance_whose_entry_was_removed(
    daemon: Daemon,
) -> None:
    Program(daemon.workspace)
    file = File(daemon)
    kept, gone = ({"id": number, "port": daemon.ports.reserve()} for number in range(2))
    file.write(kept, gone)
    await daemon.start(variables={"DISABLE_AUTOLAUNCH": "false"})
    await daemon.api.until(1, state="running")

    assert await file.reload(kept) == {"stopped": [1], "left_alone": [0]}


async def test_a_pending_autolaunch_entry_can_be_stopped_and_removed(
    daemon: Daemon,
) -> None:
    Program(daemon.workspace)
    file = File(daemon)
    entries = [{"id": number, "port": daemon.ports.reserve()} for number in range(3)]
    file.path.write_text(
        json.dumps({"instances": entries, "global_settings": {"startup_delay": 600}})
    )
    await daemon.start(variables={"DISABLE_AUTOLAUNCH": "false"})
    await daemon.api.until(0, state="running")
    before = (await daemon.api.ask("GET", f"{API}/daemon")).body["autolaunch_pending"]

    stopped = await daemon.api.act(1, "stop")
    removed = await daemon.api.ask("DELETE", f"{API}/instances/instance_2")

    assert before == [1, 2]
    assert (stopped.status, stopped.body["state"], stopped.body["wanted"]) == (
        200,
        "stopped",
        False,
    )
    assert (removed.status, removed.body["id"]) == (200, 2)
    assert (await daemon.api.ask("GET", f"{API}/daemon")).body["autolaunch_pending"] == []
    assert (await daemon.api.ask("GET", "/readyz")).status == 200
    assert await file.reload(*entries) == {"left_alone": [0, 1, 2]}


async def test_an_invalid_entry_is_skipped_and_its_instance_keeps_running(
    daemon: Daemon, file: File
) -> None:
    good, bad = ({"id": number, "port": daemon.ports.reserve()} for number in range(2))
    await file.reload(good, bad)
    pid = (await daemon.api.show(1))["pid"]

    file.write({**good, "name": "renamed"}, {**bad, "gpuu": 1})
    answer = await reload(daemon)

    assert ids(answer) == {"updated": [0], "left_alone": [1]}
    [mistake] = answer.body["mistakes"]
    assert mistake["place"] == "instances[1].gpuu"
    assert "did you mean 'gpu'" in mistake["text"]
    assert (await daemon.api.show(1))["pid"] == pid


async def test_a_half_written_file_stops_nothing(daemon: Daemon, file: File) -> None:
    """Scenario 49: a writer that does not replace the file exposes every prefix of it."""
    entries = [{"id": number, "port": daemon.ports.reserve()} for number in range(2)]
    await file.reload(*entries)
    pids = set(daemon.processes())
    text = file.path.read_text()

    for end in range(len(text)):
        file.path.write_text(text[:end])
        answer = await reload(daemon)
        assert answer.status == 422, text[:end]
        assert answer.body["code"] == "invalid_request"

    file.path.unlink()
    missing = await reload(daemon)
    assert missing.status == 422
    assert missing.body["detail"][0]["msg"] == (
        f"cannot read {file.path}: there is no such file; COMFYSUP_INSTANCES_FILE names another"
    )
    assert set(daemon.processes()) == pids
    file.path.write_text(text)
    assert ids(await reload(daemon)) == {"left_alone": [0, 1]}


async def test_a_file_replaced_while_it_is_read_is_read_completely(
    daemon: Daemon, file: File
) -> None:
    """Scenario 49. The old and the new file differ in every byte and in length."""
    port = daemon.ports.reserve()
    texts = (long_text(port, "old", 300), long_text(port, "new", 700))
    file.replace(texts[0])
    assert ids(await reload(daemon)) == {"started": [0]}
    pid = (await daemon.api.show(0))["pid"]

    seen = set()
    with replacing(file, texts):
        for _ in range(40):
            answer = await reload(daemon)
            assert answer.status == 200, answer
            assert answer.body["mistakes"] == []
            shown = await daemon.api.show(0)
            assert shown["pid"] == pid
            seen.add(shown["description"])

    assert seen == {"old", "new"}


async def test_concurrent_reloads_are_serialized(daemon: Daemon, file: File) -> None:
    entries = [{"id": number, "port": daemon.ports.reserve()} for number in range(3)]
    file.write(*entries)

    answers = await asyncio.gather(*(reload(daemon) for _ in range(20)))

    started = [answer for answer in answers if ids(answer) == {"started": [0, 1, 2]}]
    assert len(started) == 1
    assert len(daemon.processes()) == 3


async def test_a_reload_is_an_event(daemon: Daemon, file: File) -> None:
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{daemon.port}") as session,
        following(session.get) as stream,
    ):
        await file.reload({"id": 0, "port": daemon.ports.reserve()})
        events: list[Event] = []
        while not events or events[-1].name != "config.reloaded":
            events += await stream.take(1)

    assert events[-1].data["reload"]["started"] == [{"id": 0, "name": "instance_0"}]


async def test_a_fifo_or_a_directory_in_place_of_the_file_is_refused_at_once(
    daemon: Daemon, file: File
) -> None:
    os.mkfifo(file.path)
    assert (await reload(daemon)).status == 422
    file.path.unlink()
    file.path.mkdir()
    assert (await reload(daemon)).status == 422


async def test_an_entry_that_failed_to_start_is_reported_until_a_reload_starts_it(
    daemon: Daemon,
) -> None:
    """A container whose instances are missing must not look healthy."""
    Program(daemon.workspace)
    file = File(daemon)
    port = daemon.ports.reserve()
    file.write({"id": 0, "port": port}, {"id": 1, "environment": "gone"}, {"id": 2, "prot": 1})
    await daemon.start(variables={"DISABLE_AUTOLAUNCH": "false"})
    await daemon.api.until(0, state="running")

    async def is_said() -> list[str]:
        return [each for each in await daemon.api.troubles() if "'gone'" in each]

    (said,) = await until_async(is_said)
    unready = await daemon.api.ask("GET", "/readyz")
    file.write({"id": 0, "port": port})
    await daemon.api.ask("POST", f"{API}/reload")

    assert said.startswith(f"did not start all of {file.path}: 1 mistake, see ")
    assert unready.status == 503
    assert unready.body["waiting_for"] == [
        "instances[2] (id 2): mistaken",
        "1 'instance_1': unknown_environment",
    ]
    await daemon.api.until_well()
    assert (await daemon.api.ask("GET", "/readyz")).status == 200


@pytest.mark.parametrize("end", ["kill", "restart"])
async def test_the_next_daemon_knows_the_entries_of_the_last_reload(
    daemon: Daemon, end: str
) -> None:
    """An entry that was removed from the file and added again is started: no caller removed it."""
    Program(daemon.workspace)
    await daemon.start()
    file = File(daemon)
    entry = {"id": 0, "port": daemon.ports.reserve()}
    await file.reload(entry)
    await file.reload()

    if end == "kill":
        await daemon.kill()
        await daemon.start()
    else:
        await daemon.api.ask("POST", f"{API}/daemon/restart")
        await until(lambda: len(daemon.events("daemon.started")) == 2)

    assert await file.reload(entry) == {"started": [0]}
    assert (await daemon.api.until(0, state="running"))["wanted"]
