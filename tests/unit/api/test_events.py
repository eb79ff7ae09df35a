"""`GET /api/comfyui/events`: the content of events, resumption, and invalid ids."""

import asyncio
from dataclasses import replace

import pytest

from comfysup.api.routes import events as module
from comfysup.api.services import DaemonFacts
from comfysup.model.instances_file import ReloadOutcome
from comfysup.supervision.life import Exit, Recover, Run, Stopping
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.stop_escalation import StopEscalation, StopStage
from tests.scenarios.waiting import until
from tests.unit.api.event_scene import scene
from tests.unit.api.site import API
from tests.unit.api.streams import EVENTS, following
from tests.unit.supervision.fakes import spec_of
from tests.unit.supervision.stage import now

EXIT = Exit(1e9, "host_out_of_memory", "the kernel killed it", signal="SIGKILL", log_tail=("a\nb",))


# ---- what an event is


async def test_an_event_has_a_name_an_id_and_the_instance_as_get_returns_it() -> None:
    async with scene(first_id=17) as here:
        instance = await here.instance()
        async with following(here.site.client.get) as stream:
            here.publisher.instance(instance, LifecycleEvent.READY)
            [event] = await stream.take(1)
        shown = await here.site.get(f"{API}/instances/0")

    assert (event.name, event.id) == ("instance.ready", 17)
    assert event.data.keys() == {"at", "instance", "reason", "message"}
    grows = dict.fromkeys(("uptime_seconds", "health"))
    assert {**event.data["instance"], **grows} == {**shown, **grows}


async def test_an_event_contains_the_instance_at_the_time_of_the_event() -> None:
    async with scene() as here:
        instance = await here.instance()
        here.publisher.instance(instance, LifecycleEvent.READY)
        await here.site.fleet.stop(instance)

        async with following(here.site.client.get, last=0) as stream:
            [event] = await stream.take(1)

    assert event.data["instance"]["state"] == "running"


@pytest.mark.parametrize(
    "notice", [LifecycleEvent.EXITED, LifecycleEvent.BACKOFF, LifecycleEvent.FAILED]
)
async def test_the_event_of_an_exit_contains_its_reason(notice: LifecycleEvent) -> None:
    async with scene() as here:
        instance = await here.instance()
        instance.life = replace(instance.life, last_exit=EXIT)

        assert await here.told(instance, notice) == ("host_out_of_memory", "the kernel killed it")


async def test_an_event_without_a_reason_ignores_the_last_exit() -> None:
    async with scene() as here:
        instance = await here.instance()
        instance.life = replace(instance.life, last_exit=EXIT)

        assert await here.told(instance, LifecycleEvent.READY) == (None, None)


async def test_the_unresponsive_event_contains_the_verdict_before_the_exit() -> None:
    async with scene() as here:
        instance = await here.instance()
        then = Recover(
            was_stable=True, verdict=("unresponsive", "no response to 12 probes in a row")
        )
        state = Stopping(Run(7, now()), StopEscalation(1e9, 1e9, 1e9), StopStage.INTERRUPTED, then)
        instance.life = replace(instance.life, state=state)

        assert await here.told(instance, LifecycleEvent.UNRESPONSIVE) == then.verdict


async def test_id_0_precedes_the_first_event_of_the_daemon() -> None:
    async with scene(first_id=100) as here:
        here.happen(2)
        async with following(here.site.client.get, last_event_id=0) as stream:
            events = await stream.take(2)

    assert [event.id for event in events] == [100, 101]
    assert stream.answer.headers["Last-Event-ID"] == "99"


async def test_a_stream_without_a_position_states_the_id_at_which_it_begins() -> None:
    """A reader that loses the connection before the first event can resume."""
    async with scene(first_id=100) as here:
        here.happen(2)
        async with following(here.site.client.get) as stream:
            position = stream.answer.headers["Last-Event-ID"]
        here.happen()
        async with following(here.site.client.get, last=position) as stream:
            [event] = await stream.take(1)

    assert (position, event.id) == ("101", 102)


async def test_the_daemon_and_reloads_emit_events() -> None:
    async with scene() as here, following(here.site.client.get) as stream:
        here.publisher.daemon("started", DaemonFacts("1.2.3", 42, now(), {}, "pidfd"))
        here.publisher.reloaded(ReloadOutcome(legible=True, started=(spec_of(4),)))
        begun, reloaded = await stream.take(2)

    assert (begun.name, begun.data["version"], begun.data["pid"]) == ("daemon.started", "1.2.3", 42)
    assert reloaded.name == "config.reloaded"
    assert reloaded.data["reload"]["started"] == [{"id": 4, "name": "instance_4"}]


async def test_output_of_a_process_cannot_end_an_event() -> None:
    tail = ("a\nb\r\nc\rd", "\x00\u2028é\ud800", "data: x", "")
    async with scene() as here:
        instance = await here.instance()
        instance.life = replace(instance.life, last_exit=replace(EXIT, log_tail=tail))
        async with following(here.site.client.get) as stream:
            here.publisher.instance(instance, LifecycleEvent.EXITED)
            here.happen()
            first, second = await stream.take(2)

    assert first.data["instance"]["last_exit"]["log_tail"] == [
        "a\nb\r\nc\rd",
        "\x00\u2028é?",
        "data: x",
        "",
    ]
    assert second.name == "test"


# ---- the stream


async def test_the_headers_of_a_stream_suit_browsers_and_proxies() -> None:
    async with scene() as here, following(here.site.client.get) as stream:
        here.happen()
        await stream.take(1)
        headers = stream.answer.headers

    assert headers["Content-Type"] == "text/event-stream"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-" in headers["Cache-Control"]
    assert stream.retry == 2_000


async def test_an_idle_stream_receives_keep_alive_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_SECONDS", 0.01)
    async with scene() as here, following(here.site.client.get) as stream:
        waiting = asyncio.create_task(stream.take(1))
        await until(lambda: "ping" in stream.comments)
        here.happen()

        assert [event.id for event in await waiting] == [1]


async def test_a_stream_without_an_id_begins_now() -> None:
    async with scene() as here:
        here.happen(3)
        async with following(here.site.client.get) as stream:
            here.happen()

            assert [event.id for event in await stream.take(1)] == [4]


async def test_a_stream_after_an_id_has_each_later_event_once() -> None:
    async with scene() as here:
        here.happen(10)
        async with following(here.site.client.get, last=4) as stream:
            here.happen(2)

            assert [event.id for event in await stream.take(8)] == list(range(5, 13))


async def test_the_query_accepts_the_last_event_id() -> None:
    async with scene() as here:
        here.happen(3)
        async with following(here.site.client.get, last_event_id=1) as stream:
            assert [event.id for event in await stream.take(2)] == [2, 3]
        async with following(here.site.client.get, last=2, last_event_id=1) as stream:
            assert [event.id for event in await stream.take(1)] == [3]


async def test_an_outdated_id_is_answered_with_the_number_of_missed_events() -> None:
    async with scene(keep=5) as here:
        here.happen(20)
        async with following(here.site.client.get, last=3) as stream:
            gap, *events = await stream.take(6)

    assert (gap.name, gap.id, gap.data) == ("events.missed", 15, {"missed": 12})
    assert [event.id for event in events] == [16, 17, 18, 19, 20]


@pytest.mark.parametrize(
    ("last", "resumed_at"),
    [
        pytest.param(5_000, 102, id="greater than all: from now on"),
        pytest.param(17, 100, id="of an earlier life: everything"),
    ],
)
async def test_an_id_of_another_daemon_is_reported_as_such(last: int, resumed_at: int) -> None:
    async with scene(first_id=100) as here:
        here.happen(2)
        async with following(here.site.client.get, last=last) as stream:
            here.happen()
            gap, event = await stream.take(2)

    assert (gap.name, gap.data) == ("events.missed", {"missed": None})
    assert event.id == resumed_at
    assert gap.id == resumed_at - 1


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "9" * 5_000, "٣", "1 2"])
async def test_an_invalid_id_is_a_422(last: str) -> None:
    async with scene() as here:
        status, answer = await here.site.ask("GET", EVENTS, Last_Event_ID=last)

    assert status == 422
    assert answer["code"] == "invalid_request"


@pytest.mark.parametrize("last", ["x", "-1", "9" * 19])
async def test_an_invalid_id_in_the_query_is_a_422(last: str) -> None:
    async with scene() as here:
        status, _ = await here.site.ask("GET", f"{EVENTS}?last_event_id={last}")

    assert status == 422


async def test_a_head_request_takes_no_slot() -> None:
    async with scene() as here, here.site.client.head(EVENTS) as answer:
        assert answer.status == 405


async def test_the_stream_ends_cleanly_when_the_daemon_does() -> None:
    async with scene() as here, following(here.site.client.get) as stream:
        here.happen()
        here.journal.close()

        assert [event.id for event in await stream.rest()] == [1]
