"""An edited state file: each record is read separately and validated."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from comfysup.app.state_store import StateError, read_state
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec, Policy
from comfysup.supervision.life import Exit, Life, Moment, Run, Running, Stopped
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord, dump

LIFE = BootIdentity("boot", 17)
SPEC = InstanceSpec(0, "main", "comm", 3001, ("--lowvram",), "0", (("A", "b"),))
OTHER = replace(SPEC, id=1, name="other", port=3002)


def running(spec: InstanceSpec) -> InstanceRecord:
    run = Run(4242, Moment(5.0, 1e9))
    life = Life(Running(run, None), 4, last_exit=Exit(1e9, "exit", "it ended"))
    return InstanceRecord(spec, spec, life, ProcessRecord(4242, 99))


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state.json")


def members() -> dict[str, Any]:
    records = [dump(running(SPEC)), dump(running(OTHER))]
    written = {"version": 1, **asdict(LIFE), "applied": [dump(SPEC)], "instances": records}
    copy: dict[str, Any] = json.loads(json.dumps(written))
    return copy


def changed(file: StateFile, change: Callable[[dict[str, Any]], object]) -> StateFile:
    written = members()
    change(written["instances"][0])
    file.write(json.dumps(written).encode())
    return file


Change = Callable[[dict[str, Any]], object]
IMPOSSIBLE: dict[str, Change] = {
    "a port above all": lambda record: record["spec"].update(port=99_999),
    "no environment": lambda record: record["spec"].update(environment="../etc"),
    "an id below all": lambda record: record["spec"].update(id=-1),
}


@pytest.mark.parametrize("change", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_invalid_record_is_dropped_alone(file: StateFile, change: Change) -> None:
    read = read_state(changed(file, change), LIFE)

    assert [each.spec for each in read.instances if each.spec.name == "other"] == [OTHER]
    assert len(read.instances) == 1
    assert "instance" in read.losses[0]


def test_of_two_records_of_one_id_the_first_counts(file: StateFile) -> None:
    read = read_state(changed(file, lambda record: record["spec"].update(id=1)), LIFE)

    assert [(each.spec.id, each.spec.name) for each in read.instances] == [(1, "main")]
    assert "a second record of the same id" in "".join(read.losses)


WRONG: dict[str, tuple[Change, str, Callable[[InstanceRecord], object], object]] = {
    "half a character in the name": (
        lambda record: record["spec"].update(name="\ud800"),
        "spec.name",
        lambda record: record.spec.name,
        "instance_0",
    ),
    "a long name": (
        lambda record: record["spec"].update(name="x" * 100_000),
        "spec.name",
        lambda record: record.spec.name,
        "instance_0",
    ),
    "the name of another": (
        lambda record: record["spec"].update(name="other"),
        "spec.name",
        lambda record: record.spec.name,
        "instance_1",
    ),
    "own options": (
        lambda record: record["spec"].update(extra_args=["--port", "1"]),
        "spec.extra_args",
        lambda record: record.spec.extra_args,
        (),
    ),
    "a variable of comfysup": (
        lambda record: record["spec"].update(env=[["COMFYSUP_MARKER", "x"]]),
        "spec.env",
        lambda record: record.spec.env,
        (),
    ),
    "a GPU": (
        lambda record: record["spec"].update(gpu="; rm"),
        "spec.gpu",
        lambda record: record.spec.gpu,
        None,
    ),
    "a patience for ever": (
        lambda record: record["spec"]["policy"].update(stop_grace=1e300),
        "spec.policy.stop_grace",
        lambda record: record.spec.policy,
        Policy(),
    ),
    "a count below all": (
        lambda record: record["life"].update(restarts=-7),
        "life.restarts",
        lambda record: record.life.restarts,
        0,
    ),
    "an exit at no time": (
        lambda record: record["life"]["last_exit"].update(at=1e300),
        "life.last_exit",
        lambda record: record.life.last_exit,
        None,
    ),
}


@pytest.mark.parametrize(("change", "place", "value", "instead"), WRONG.values(), ids=WRONG)
def test_an_invalid_field_is_replaced_by_its_default_and_reported(
    file: StateFile,
    change: Change,
    place: str,
    value: Callable[[InstanceRecord], object],
    instead: object,
) -> None:
    read = read_state(changed(file, change), LIFE)

    assert len(read.instances) == 2
    assert instead in map(value, read.instances)
    assert place in "".join(read.losses)
    assert not read.uncertain


LOST: dict[str, Change] = {
    "a wall clock of no date": lambda record: record["life"]["state"]["run"]["started"].update(
        wall=1e300
    ),
    "a clock of no number": lambda record: record["life"]["state"]["run"]["started"].update(
        monotonic=float("nan")
    ),
    "a deadline for ever": lambda record: record["life"]["state"].update(stable_at=float("inf")),
    "another process": lambda record: record["life"]["state"]["run"].update(pid=4243),
    "a pid above all": lambda record: record["process"].update(pid=1 << 40),
    "a generation below all": lambda record: record["life"].update(generation=-1),
    "a generation above all": lambda record: record["life"].update(generation=10**12),
}


@pytest.mark.parametrize("change", LOST.values(), ids=LOST)
def test_an_impossible_process_makes_its_instance_uncertain(
    file: StateFile, change: Change
) -> None:
    read = read_state(changed(file, change), LIFE)

    (lost,) = [each for each in read.instances if each.spec.id == 0]
    assert (lost.process, lost.life.state, lost.spec) == (None, Stopped(), SPEC)
    assert {0} == read.uncertain
    assert "instance 0 'main'" in read.losses[0]


@pytest.mark.parametrize("name", ["applied", "instances"])
@pytest.mark.parametrize("value", [None, 7, {}], ids=str)
def test_a_missing_or_invalid_list_is_reported_and_read_as_empty(
    file: StateFile, name: str, value: object
) -> None:
    written = members()
    written[name] = value
    if value is None:
        del written[name]
    file.write(json.dumps(written).encode())

    read = read_state(file, LIFE)

    assert bool(read.instances) == (name == "applied")
    assert bool(read.applied) == (name == "instances")
    assert name in read.losses[0]


def test_a_file_without_a_boot_identity_is_broken(file: StateFile) -> None:
    written = members()
    del written["boot_id"]
    file.write(json.dumps(written).encode())

    with pytest.raises(StateError, match="boot_id"):
        read_state(file, LIFE)


def test_a_valid_file_is_read_without_loss(file: StateFile) -> None:
    read = read_state(changed(file, lambda record: record), LIFE)

    assert read.instances == (running(SPEC), running(OTHER))
    assert not read.losses
