"""What follows for a queue from what happens to its instance."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from comfysup.comfyui.ledger import PromptNews
from comfysup.comfyui.probe import new_session
from comfysup.comfyui.queues import Queues
from comfysup.supervision.events import Notice
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Exit, Life, Moment, Run, Running, Starting
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.state_file import StateFile
from tests.queue.conftest import Serve
from tests.queue.server import QueueServer
from tests.scenarios.waiting import until
from tests.supervision.stage import Stage

RUN = Run(42, Moment(0.0, 0.0))
CRASH = Exit(0.0, "signal", "it was killed", signal="SIGKILL")


@pytest.fixture
def news() -> list[PromptNews]:
    return []


@pytest.fixture
async def queues(
    tmp_path: Path, news: list[PromptNews], serve: Serve[QueueServer]
) -> AsyncIterator[Queues]:
    """They are closed before the servers that they watch."""
    async with new_session() as session:
        one = Queues(
            session,
            lambda number: StateFile(tmp_path / f"{number}.json"),
            "this life",
            asyncio.to_thread,
            lambda _instance, told: news.append(told),
            lambda: None,
        )
        yield one
        await one.close()


async def attended(queues: Queues, serve: Serve[QueueServer]) -> tuple[Instance, QueueServer]:
    """An instance whose process is working on `runs`, and its server."""
    server = await serve(QueueServer())
    server.add("runs")
    server.take()
    port = int(server.url.rpartition(":")[2])
    instance = Instance(InstanceSpec(0, "main", "comm", port), Stage().world)
    await ready(queues, instance)
    return instance, server


async def ready(queues: Queues, instance: Instance) -> None:
    await queues.rescue(instance.spec, RUN.pid)
    instance.life = Life(Running(RUN, None))
    queues.observe(instance, Notice.READY)
    await until(lambda: (facts := queues.facts(0)) and facts.running_prompts)


def fall_silent(queues: Queues, instance: Instance) -> None:
    instance.life = Life(Starting(RUN, 1e9))
    queues.observe(instance, Notice.STARTING)


def crash(queues: Queues, instance: Instance) -> None:
    instance.life = replace(instance.life, last_exit=CRASH)
    queues.observe(instance, Notice.EXITED)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_crash_is_a_strike_also_when_its_silence_was_seen_first(
    queues: Queues,
    serve: Serve[QueueServer],
    news: list[PromptNews],
    silent: bool,  # noqa: FBT001 - a parameter
) -> None:
    instance, _ = await attended(queues, serve)

    for number in range(2):
        if number:
            await ready(queues, instance)
        if silent:
            fall_silent(queues, instance)
        crash(queues, instance)

    assert [(each.prompt_id, each.reason) for each in news] == [("runs", "crashed_twice")]


async def test_what_a_process_had_before_it_executed_itself_anew_is_handed_in(
    queues: Queues, serve: Serve[QueueServer], news: list[PromptNews]
) -> None:
    instance, server = await attended(queues, serve)
    for _ in range(3):
        fall_silent(queues, instance)
        server.running.clear()
        await queues.rescue(instance.spec, RUN.pid)
        server.take()
        await until(lambda: (facts := queues.facts(0)) and facts.running_prompts)

    assert {str(each.notice) for each in news} == {"prompt.rescued"}
    assert len(server.posts) == 3
