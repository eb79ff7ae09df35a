"""Prompts that only the output of a process shows."""

import pytest

from comfysup.comfyui.queue import watcher as queue
from comfysup.comfyui.queue.manager import QueueManager
from comfysup.model.observed import PromptEvent
from comfysup.model.spec import Rescue
from comfysup.supervision.instance import Instance
from comfysup.supervision.lifecycle_events import Blame
from comfysup.supervision.protocols import LastPrompts
from tests.scenarios.waiting import until
from tests.unit.comfyui.queue.desk import Serve
from tests.unit.comfyui.queue.managing import Written, attended, crash, stop
from tests.unit.comfyui.queue.server import QueueServer

EXECUTED_LINE = "Prompt executed in 0.01 seconds"


async def test_a_prompt_known_only_from_the_output_is_reported(
    queues: QueueManager,
    serve: Serve[QueueServer],
    news: list[PromptEvent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It held the GIL from its start, so that only the output shows it."""
    instance, _ = await attended(queues, serve)
    await until(lambda: queues.facts(0))
    monkeypatch.setattr(queue, "UNSURE_AFTER", 0.0)
    queues.probed(0, answered=False)

    await queues.last_prompts(0, ["got prompt", "\x1b[32m[INFO]\x1b[0m got prompt", "bye"])
    crash(queues, instance)

    assert [(each.reason, each.prompt_id, each.count) for each in news] == [("unseen", None, 1)]


async def idle(
    queues: QueueManager, serve: Serve[QueueServer], output: Written
) -> tuple[Instance, QueueServer]:
    """An instance whose queue was read as empty after its last line of output."""
    instance, server = await attended(queues, serve)
    server.finish()
    output.lines += ["got prompt", "Prompt executed in 1.00 seconds", "got prompt"]  # one deleted
    await server.tell()
    await until(lambda: queues._attended[0].watcher.idle_mark == str(len(output.lines)))
    return instance, server


async def test_a_prompt_that_crashes_an_idle_process_at_once_is_reported_and_blamed(
    queues: QueueManager, serve: Serve[QueueServer], news: list[PromptEvent], output: Written
) -> None:
    instance, _ = await idle(queues, serve, output)
    output.lines += ["got prompt", "bye"]

    last = await queues.last_prompts(0, [])
    crash(queues, instance)

    assert last == LastPrompts((), Blame.CERTAIN)
    assert [(each.reason, each.prompt_id, each.count) for each in news] == [("unseen", None, 1)]


@pytest.mark.parametrize(
    "lines", [[], ["bye"], ["got prompt", "invalid prompt: {}"], ["got prompt", EXECUTED_LINE]]
)
async def test_a_crash_of_an_idle_process_without_a_prompt_blames_none(
    queues: QueueManager,
    serve: Serve[QueueServer],
    news: list[PromptEvent],
    output: Written,
    lines: list[str],
) -> None:
    instance, _ = await idle(queues, serve, output)
    output.lines += lines

    last = await queues.last_prompts(0, ["got prompt"])
    crash(queues, instance)

    assert last == LastPrompts()
    assert news == []


async def test_a_prompt_finished_according_to_the_output_is_not_running(
    queues: QueueManager, serve: Serve[QueueServer], news: list[PromptEvent], output: Written
) -> None:
    """The next prompt held the GIL before its end was reported."""
    instance, server = await attended(queues, serve)
    server.add("hangs")
    await server.tell()
    await until(lambda: (facts := queues.facts(0)) and facts.pending)
    await until(lambda: queues._backlog_store(0).backlog.running[0].mark)
    output.lines += ["got prompt", "Prompt executed in 1.00 seconds"]
    queues.choose(0, Rescue.WAITING, at_end=True)

    last = await queues.last_prompts(0, [])
    stop(queues, instance)

    assert last == LastPrompts(("hangs",), Blame.CERTAIN)
    assert [(each.reason, each.prompt_id) for each in news] == [("unwanted", "hangs")]
    assert not queues._backlog_store(0).backlog.owed
