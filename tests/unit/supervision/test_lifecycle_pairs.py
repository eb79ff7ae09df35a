"""All pairs of states and events: each is decided or listed as impossible."""

from dataclasses import replace
from typing import get_args

import pytest

from comfysup.model.spec import Policy
from comfysup.supervision.life import Phase, Running, State
from comfysup.supervision.lifecycle import step
from comfysup.supervision.lifecycle_events import DeadlinePassed, Event, Report
from comfysup.supervision.transitions import ImpossibleEventError
from tests.unit.supervision.situations import EVENTS, GENERATION, NOW, SITUATIONS, Situation

NO_PROCESS = {"Stopped", "Launching", "Aborting", "Backoff", "Failed"}
KINDS = {kind.__name__ for kind in get_args(State)}

# A watched process is never one of a launch, of a back-off or of rest; nothing ends twice; what
# has no deadline cannot miss it.
IMPOSSIBLE = {
    "StartAsked": set[str](),
    "RestartAsked": set[str](),
    "StopAsked": set[str](),
    "DeadlinePassed": {"Stopped", "Launching", "Aborting", "Failed", "Stuck"},
    "TimeLost": set[str](),
    "Launched": KINDS - {"Launching", "Aborting"},
    "LaunchFailed": KINDS - {"Launching", "Aborting"},
    "BecameReady": NO_PROCESS,
    "WentSilent": NO_PROCESS,
    "Unresponsive": NO_PROCESS,
    "Drained": NO_PROCESS | {"Starting", "Running"},
    "Exited": NO_PROCESS | {"Sweeping"},
    "TreeGone": KINDS - {"Sweeping", "Stuck"},
}

PAIRS = [
    pytest.param(situation, event, id=f"{situation} - {name}")
    for situation in SITUATIONS
    for name, event in EVENTS
]


def test_the_situations_are_of_every_state_and_the_events_of_every_event() -> None:
    assert {situation.kind for situation in SITUATIONS} == KINDS
    assert {type(event) for _, event in EVENTS} == set(get_args(Event))
    assert {kind.__name__ for kind in get_args(Event)} == set(IMPOSSIBLE)


@pytest.mark.parametrize(("situation", "event"), PAIRS)
def test_every_pair_is_decided_or_cannot_happen(situation: Situation, event: Event) -> None:
    try:
        step(situation.life, event, NOW, Policy())
        decided = True
    except ImpossibleEventError:
        decided = False

    assert decided == (situation.kind not in IMPOSSIBLE[type(event).__name__])


@pytest.mark.parametrize(("situation", "event"), PAIRS)
def test_a_report_of_another_generation_is_ignored_in_every_state(
    situation: Situation, event: Event
) -> None:
    if not isinstance(event, get_args(Report)):
        return
    for generation in (GENERATION - 1, GENERATION + 1):
        stale = replace(event, generation=generation)

        assert step(situation.life, stale, NOW, Policy()) == (situation.life, ())


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_a_state_has_a_deadline_exactly_where_a_deadline_is_decided(situation: Situation) -> None:
    cannot_pass = situation.kind in IMPOSSIBLE["DeadlinePassed"]
    if isinstance(situation.life.state, Running):
        cannot_pass = situation.life.state.stable_at is None

    assert (situation.life.deadline is None) == cannot_pass


def test_an_impossible_event_names_itself_and_the_state() -> None:
    with pytest.raises(ImpossibleEventError) as raised:
        step(SITUATIONS[0].life, DeadlinePassed(), NOW, Policy())

    assert str(raised.value) == "DeadlinePassed(remnants=()) cannot happen in Stopped()"


def test_only_a_state_with_a_process_has_a_run() -> None:
    for situation in SITUATIONS:
        assert (situation.life.run is None) == (situation.kind in NO_PROCESS)


def test_every_state_maps_to_its_public_phase() -> None:
    phases = {situation.kind: situation.life.phase for situation in SITUATIONS}

    assert phases == {
        "Stopped": Phase.STOPPED,
        "Launching": Phase.STARTING,
        "Aborting": Phase.STOPPING,
        "Starting": Phase.STARTING,
        "Running": Phase.RUNNING,
        "Draining": Phase.DRAINING,
        "Stopping": Phase.STOPPING,
        "Sweeping": Phase.STOPPING,
        "Backoff": Phase.BACKOFF,
        "Failed": Phase.FAILED,
        "Stuck": Phase.STUCK,
    }


def test_an_instance_is_wanted_unless_it_is_or_will_stay_stopped() -> None:
    for situation in SITUATIONS:
        rests = situation.kind == "Stopped" or "then stay stopped" in situation.details

        assert situation.life.wanted is not rests
