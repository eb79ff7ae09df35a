import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfysup.state import Keeper, State, StateError, read_state
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Backoff, Life, Moment
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.container_life import ContainerLife
from comfysup.system.state_file import StateFile
from tests.scenarios.waiting import until
from tests.supervision.stage import Stage

LIFE = ContainerLife("boot", 17)
SPEC = InstanceSpec(3, "main", "comm", 3004, ("--lowvram",), "0", (("A", "ä"),))
RECORD = InstanceRecord(
    SPEC, replace(SPEC, port=3005), Life(Backoff(Moment(5.0, 1e9)), generation=4, failures=2), None
)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state.json")


def keeper(file: StateFile, *applied: InstanceSpec) -> Keeper:
    return Keeper(file, LIFE, lambda: {spec.id: spec for spec in applied})


def instance(record: InstanceRecord = RECORD) -> Instance:
    return Instance(record.spec, Stage().world, record)


async def test_what_is_kept_is_read_by_the_next_daemon(file: StateFile) -> None:
    other = replace(SPEC, id=4, name="other", port=3006)
    keeping = keeper(file, other)
    keeping.keep(instance())
    keeping.keep(instance(InstanceRecord(other, other, Life(), None)))

    read = read_state(file, LIFE)

    assert {"main", "other"} == {record.spec.name for record in read.instances}
    assert {4: other} == read.applied
    (record,) = [each for each in read.instances if each.spec.id == 3]
    assert (SPEC, RECORD.life) == (record.spec, record.life)


async def test_the_last_word_about_an_instance_counts(file: StateFile) -> None:
    keeping = keeper(file)
    keeping.keep(instance())
    keeping.keep(instance(replace(RECORD, life=replace(RECORD.life, generation=5))))

    assert [5] == [each.life.generation for each in read_state(file, LIFE).instances]


async def test_a_daemon_that_dies_while_it_takes_over_has_lost_none(file: StateFile) -> None:
    """The first that it has taken over is written down together with those that it has not."""
    others = [replace(RECORD, spec=replace(SPEC, id=number)) for number in (4, 5)]
    keeping = Keeper(file, LIFE, dict, [RECORD, *others])

    keeping.keep(instance())

    assert [each.spec.id for each in read_state(file, LIFE).instances] == [3, 4, 5]


async def test_what_is_forgotten_is_not_there_any_more(file: StateFile) -> None:
    keeping = keeper(file)
    one = instance()
    keeping.keep(one)
    keeping.forget(one)

    assert State() == read_state(file, LIFE)

    keeping.forget_all()
    assert file.read() is None


def hinder(file: StateFile) -> Path:
    """Makes the file one that cannot be written, as long as what is returned is there."""
    draft = file.path.with_suffix(".draft")
    draft.mkdir()
    return draft


async def test_what_could_not_be_written_is_written_with_the_next_change(file: StateFile) -> None:
    keeping = keeper(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    problems = [file.problem]

    hindrance.rmdir()
    keeping.write()
    problems.append(file.problem)

    assert [str(file.path) in str(each) for each in problems] == [True, False]
    assert problems[1] is None
    assert len(read_state(file, LIFE).instances) == 1


async def test_what_could_not_be_written_is_tried_again_without_a_change(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.state.AGAIN", 0.01)
    keeping = keeper(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    await asyncio.sleep(0.05)
    assert file.problem

    hindrance.rmdir()
    await until(lambda: file.problem is None)

    assert len(read_state(file, LIFE).instances) == 1


async def test_nothing_is_tried_again_once_it_is_closed(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.state.AGAIN", 0.01)
    keeping = keeper(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    keeping.close()
    hindrance.rmdir()
    await asyncio.sleep(0.05)

    assert file.read() is None


def test_no_file_is_nothing(file: StateFile) -> None:
    assert State() == read_state(file, LIFE)


@pytest.mark.parametrize("other", [ContainerLife("boot2", 17), ContainerLife("boot", 18)])
async def test_another_life_of_the_container_is_void(file: StateFile, other: ContainerLife) -> None:
    keeper(file).keep(instance())

    assert State() == read_state(file, other)


BROKEN = [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"\0" * 100, b"[" * 100_000, b"{}"]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:8]))
def test_what_is_no_state_is_refused(file: StateFile, content: bytes) -> None:
    file.write(content)

    with pytest.raises(StateError, match=r"state\.json"):
        read_state(file, LIFE)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="directory"):
        read_state(StateFile(tmp_path), LIFE)


@pytest.mark.parametrize("version", [0, 2, "1", None])
async def test_another_version_is_refused(file: StateFile, version: Any) -> None:  # noqa: ANN401
    keeper(file).keep(instance())
    state = json.loads(file.path.read_text())
    file.write(json.dumps({**state, "version": version}).encode())

    with pytest.raises(StateError, match="version"):
        read_state(file, LIFE)


async def test_every_truncation_is_refused(file: StateFile) -> None:
    keeper(file).keep(instance())
    whole = file.path.read_bytes().rstrip()

    for length in range(len(whole)):
        file.write(whole[:length])
        with pytest.raises(StateError):
            read_state(file, LIFE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_no_garbage_raises_anything_else(file: StateFile, content: bytes) -> None:
    file.write(content)

    with pytest.raises(StateError):
        read_state(file, LIFE)


async def test_a_fleet_goes_on_with_what_was_read(file: StateFile) -> None:
    keeper(file).keep(instance())
    fleet = Fleet(Stage().world, 8001)

    for record in read_state(file, LIFE).instances:
        fleet.restore(record)

    (found,) = list(fleet)
    assert (SPEC, RECORD.life) == (found.spec, found.life)
    await fleet.release()
