"""Stored records: they are restored unchanged, and invalid ones are refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Life, Stopped
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord, RecordError, Salvaged, dump, load, salvage
from tests.unit.supervision.situations import SITUATIONS, Situation

SPEC = InstanceSpec(0, "main", "comm", 3001, ("--lowvram", ""), "0", (("A", "b"),), "für alle")

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
for kind, strategy in ((float, FINITE), (str, TEXT)):
    st.register_type_strategy(kind, strategy)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def through_json(value: InstanceRecord | InstanceSpec) -> Any:  # noqa: ANN401 - whatever JSON says
    return json.loads(json.dumps(dump(value)))


def record(situation: Situation) -> InstanceRecord:
    process = ProcessRecord(4242, 99) if situation.life.run else None
    return InstanceRecord(replace(SPEC, name="renamed"), SPEC, situation.life, process)


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_every_kind_of_state_is_restored_unchanged(situation: Situation) -> None:
    written = record(situation)

    assert written == load(through_json(written), InstanceRecord)


@given(st.builds(Life), st.builds(InstanceSpec), st.builds(InstanceSpec))
def test_every_life_and_spec_is_restored_unchanged(
    life: Life, spec: InstanceSpec, launched: InstanceSpec
) -> None:
    written = InstanceRecord(spec, launched, life, None)

    assert written == load(through_json(written), InstanceRecord)
    assert spec == load(through_json(spec), InstanceSpec)


@given(JSON)
def test_an_invalid_record_is_refused_with_a_record_error(written: object) -> None:
    for kind in (InstanceRecord, InstanceSpec):
        with pytest.raises(RecordError, match=f"cannot read a {kind.__name__}"):
            load(written, kind)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all parts of a JSON value."""
    match value:
        case dict():
            inner = [place for key in value for place in places(value[key], (*path, key))]
        case list():
            inner = [place for at in range(len(value)) for place in places(value[at], (*path, at))]
        case _:
            inner = []
    return [*inner, path] if path else inner


PLACES = [
    (situation, path)
    for situation in SITUATIONS
    for path in places(through_json(record(situation)))
]


@given(st.sampled_from(PLACES), JSON)
def test_a_random_record_is_read_or_refused(
    place: tuple[Situation, tuple[Any, ...]], other: object
) -> None:
    """No other exception is raised; a record that is read can be written again."""
    situation, path = place
    written = through_json(record(situation))
    inside = written
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = other

    try:
        read = load(written, InstanceRecord)
    except RecordError:
        return

    assert json.dumps(dump(read))


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no spec": lambda written: written.pop("spec"),
    "no life": lambda written: written.pop("life"),
    "a state more": lambda written: written["life"]["state"].update({"is": "Dreaming"}),
    "no state": lambda written: written["life"]["state"].pop("is"),
    "a word for a number": lambda written: written["life"].update(generation="seven"),
    "no pid": lambda written: written["life"]["state"]["run"].update(pid=None),
    "a word more": lambda written: written["spec"]["policy"].update(restart="sometimes"),
}
RUNNING = next(each for each in SITUATIONS if each.life.run)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_of_another_form_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    written = through_json(record(RUNNING))
    change(written)

    with pytest.raises(RecordError):
        load(written, InstanceRecord)


# ---- other versions

EARLIER = sorted((Path(__file__).parent / "records").glob("*.json"))
"""Every kind of state as an earlier version has written it: `dump` of each of the `SITUATIONS`."""


@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.stem)
def test_a_record_of_an_earlier_version_is_read_without_loss(file: Path) -> None:
    for written in json.loads(file.read_text()):
        found = salvage(written)

        assert not found.losses, written
        assert found.certain


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_fields_of_a_later_version_are_ignored(situation: Situation) -> None:
    expected = record(situation)
    written = through_json(expected)
    for path in places(written):
        inside = written
        for key in path[:-1]:
            inside = inside[key]
        if isinstance(inside[path[-1]], dict):
            inside[path[-1]]["novelty"] = {"of": ["a", "later", "version"]}

    assert Salvaged(expected) == salvage({**written, "novelty": None})


def test_an_invalid_field_of_a_record_is_its_default_and_reported() -> None:
    written = through_json(record(RUNNING))
    written["spec"]["policy"].update(restart="sometimes", stop_grace=7)
    written["spec"]["extra_args"] = 7
    written["life"]["restarts"] = {}
    del written["launched"]

    found = salvage(written)

    assert found.certain
    assert found.losses == (
        "spec.extra_args",
        "spec.policy.restart",
        "launched",
        "life.restarts",
    )
    expected = replace(SPEC, name="renamed", extra_args=(), policy=Policy(stop_grace=7))
    assert found.record.spec == found.record.launched == expected
    assert found.record.life == replace(RUNNING.life, restarts=0)


LOST: dict[str, Callable[[dict[str, Any]], object]] = {
    "no life": lambda written: written.pop("life"),
    "a life that is none": lambda written: written.update(life=[1]),
    "a state more": lambda written: written["life"]["state"].update({"is": "Dreaming"}),
    "no process": lambda written: written.pop("process"),
    "a process that is none": lambda written: written.update(process="seven"),
}


@pytest.mark.parametrize("change", LOST.values(), ids=LOST)
def test_without_state_or_process_an_instance_counts_as_stopped_and_is_uncertain(
    change: Callable[[dict[str, Any]], object],
) -> None:
    written = through_json(record(RUNNING))
    change(written)

    found = salvage(written)

    assert not found.certain
    assert found.losses
    assert (found.record.process, found.record.life.state) == (None, Stopped())
    assert found.record.spec == record(RUNNING).spec


@pytest.mark.parametrize("name", ["id", "name", "environment", "port"])
def test_a_record_without_required_fields_is_dropped(name: str) -> None:
    written = through_json(record(RUNNING))
    del written["spec"][name]

    with pytest.raises(RecordError, match="spec"):
        salvage(written)


@given(st.sampled_from(PLACES), JSON)
def test_salvaging_raises_only_record_errors(
    place: tuple[Situation, tuple[Any, ...]], other: object
) -> None:
    situation, path = place
    written = through_json(record(situation))
    inside = written
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = other

    with suppress(RecordError):
        assert json.dumps(dump(salvage(written).record))
