"""The effects of an instance's lifecycle on its queue."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from comfysup.comfyui import worker
from comfysup.comfyui.queue import watcher as queue
from comfysup.comfyui.queue.manager import QueueManager
from comfysup.comfyui.queue.rescuing_probe import RescuingProbe, RescuingProber
from comfysup.model.observed import PromptEvent
from comfysup.model.spec import Rescue
from comfysup.supervision import tasks
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import (
    Launching,
    Life,
    Recover,
    Starting,
    State,
    Sweeping,
)
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.protocols import Finding
from tests.scenarios.waiting import until, until_async
from tests.unit.comfyui.queue.desk import Serve
from tests.unit.comfyui.queue.managing import (
    CRASH,
    RUN,
    MakeQueues,
    Written,
    attended,
    crash,
    ready,
    stop,
)
from tests.unit.comfyui.queue.server import HangingServer, QueueServer
from tests.unit.supervision.fakes import FakeProber


def fall_silent(queues: QueueManager, instance: Instance) -> None:
    instance.life = Life(Starting(RUN, 1e9))
    queues.observe(instance, LifecycleEvent.STARTING)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_crash_after_an_unresponsive_verdict_is_a_strike(
    queues: QueueManager,
    serve: Serve[QueueServer],
    news: list[PromptEvent],
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


def content_with(file: Path, words: tuple[str, ...]) -> bytes | None:
    """Read the file once, because it may be rewritten; return None if the text is missing."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    return content if all(word.encode() in content for word in words) else None


@pytest.mark.parametrize("state", [Sweeping(RUN, 0.0, Recover(was_stable=False)), Launching()])
async def test_a_strike_outlives_a_daemon_that_died_before_writing_it(
    make_queues: MakeQueues,
    serve: Serve[QueueServer],
    news: list[PromptEvent],
    tmp_path: Path,
    state: State,
) -> None:
    """The state file already contains the exit, because it is written first."""
    queues, file = make_queues(), tmp_path / "0.json"
    instance, _ = await attended(queues, serve)
    for struck in ("[]", '["runs"]'):
        words = ('"running":[{', f'"struck":{struck}')
        before = await until(partial(content_with, file, words))
        assert before is not None
        await queues.close()
        file.write_bytes(before)
        end = replace(CRASH, prompts=("runs",))
        instance.life = replace(instance.life, state=state, last_exit=end)

        queues = make_queues()
        await queues.load([0])
        queues.restored([instance])
        if not news:
            await ready(queues, instance)

    assert [(each.prompt_id, each.reason) for each in news] == [("runs", "crashed_twice")]


async def test_prompts_from_before_a_re_execution_in_place_are_resubmitted(
    queues: QueueManager, serve: Serve[QueueServer], news: list[PromptEvent]
) -> None:
    instance, server = await attended(queues, serve)
    for _ in range(3):
        fall_silent(queues, instance)
        server.running.clear()
        await queues.rescue(instance.spec, RUN.pid)
        server.take()
        await until(lambda: (facts := queues.facts(0)) and facts.running_prompts)

    assert {str(each.name) for each in news} == {"prompt.rescued"}
    assert len(server.posts) == 3


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_at_the_end_of_a_rescue_is_not_lost(
    queues: QueueManager, serve: Serve[QueueServer], turns: int
) -> None:
    """A monitor that lost its cancellation would watch an ended process."""
    instance, _ = await attended(queues, serve)
    rescued = asyncio.Event()
    queues._attend = lambda *_: SimpleNamespace(rescued=rescued)  # type: ignore[assignment,method-assign]

    async def monitor() -> None:
        await queues.rescue(instance.spec, RUN.pid)
        await asyncio.Event().wait()

    task = asyncio.create_task(monitor())
    await asyncio.sleep(0)
    rescued.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=20)

    assert task.cancelled()


async def test_a_worker_whose_thread_is_gone_during_a_prompt_is_reported_dead(
    queues: QueueManager,
    serve: Serve[QueueServer],
    living: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await attended(queues, serve)
    monkeypatch.setattr(worker, "IDLE", 0.0)
    monkeypatch.setattr(worker, "STALLED", 0.0)
    assert not await queues.worker_has_died(0)

    living.discard(7)

    assert await queues.worker_has_died(0)


async def test_a_probe_of_an_instance_with_a_dead_worker_reports_the_worker(
    queues: QueueManager,
    serve: Serve[QueueServer],
    living: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance, _ = await attended(queues, serve)
    monkeypatch.setattr(worker, "IDLE", 0.0)
    monkeypatch.setattr(worker, "STALLED", 0.0)
    probe = RescuingProber(FakeProber(), queues).probe(instance.spec, RUN.pid)
    assert await probe.ask(1.0) is Finding.ANSWERED

    living.discard(7)

    await until_async(lambda: finds_it_dead(probe))


async def finds_it_dead(probe: RescuingProbe) -> bool:
    return await probe.ask(1.0) is Finding.WORKER_DEAD


async def test_a_prompt_that_hangs_before_its_submission_is_answered_can_be_dropped(
    queues: QueueManager, serve: Serve[QueueServer], news: list[PromptEvent], output: Written
) -> None:
    instance, server = await attended(queues, serve)
    server.add("hangs", "waits")
    server.finish()
    await server.tell()
    await until(lambda: (facts := queues.facts(0)) and facts.pending == 2)
    stop(queues, instance)
    hanging = await serve(HangingServer())
    port = int(hanging.url.rpartition(":")[2])
    instance.spec = replace(instance.spec, port=port)
    rescue = asyncio.create_task(queues.rescue(instance.spec, 43))
    await until(lambda: hanging.posts)

    await until(lambda: queues.facts(0) is None)
    queues.observe(instance, LifecycleEvent.STOPPING)
    await queues.last_prompts(0, [])
    stop(queues, instance)
    queues.choose(0, Rescue.WAITING, at_end=False)

    assert [(each.reason, each.prompt_id) for each in news] == [("unwanted", "hangs")]
    assert [each.id for each in queues._backlog_store(0).backlog.owed] == ["waits"]
    rescue.cancel()


async def test_a_queue_is_unknown_from_an_internal_error_until_it_is_watched_again(
    queues: QueueManager, serve: Serve[QueueServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = await attended(queues, serve)

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    with capture_logs() as logged, monkeypatch.context() as broken:
        broken.setattr(queue.QueueWatcher, "_update", break_down)
        await server.tell()
        await until(lambda: queues.facts(0) is None)
        await until(lambda: logged)

    assert {"loop.broke"} == {each["event"] for each in logged}
    await until(lambda: queues.facts(0) is not None)
