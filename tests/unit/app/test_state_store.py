import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfysup.app.state_store import State, StateError, StateStore, read_state, written_identity
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Backoff, Life, Moment, Stopped
from comfysup.supervision.records import InstanceRecord, dump
from tests.scenarios.waiting import until
from tests.unit.supervision.stage import Stage

LIFE = BootIdentity("boot", 17)
SPEC = InstanceSpec(3, "main", "comm", 3004, ("--lowvram",), "0", (("A", "ä"),))
RECORD = InstanceRecord(
    SPEC, replace(SPEC, port=3005), Life(Backoff(Moment(5.0, 1e9)), generation=4, failures=2), None
)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state.json")


def store(file: StateFile, *applied: InstanceSpec) -> StateStore:
    return StateStore(file, LIFE, lambda: {spec.id: spec for spec in applied})


def instance(record: InstanceRecord = RECORD) -> Instance:
    return Instance(record.spec, Stage().context, record)


async def test_a_kept_instance_is_read_by_the_next_daemon(file: StateFile) -> None:
    other = replace(SPEC, id=4, name="other", port=3006)
    keeping = store(file, other)
    keeping.keep(instance())
    keeping.keep(instance(InstanceRecord(other, other, Life(), None)))

    read = read_state(file, LIFE)

    assert {"main", "other"} == {record.spec.name for record in read.instances}
    assert {4: other} == read.applied
    (record,) = [each for each in read.instances if each.spec.id == 3]
    assert (SPEC, RECORD.life) == (record.spec, record.life)


async def test_the_latest_record_of_an_instance_is_read(file: StateFile) -> None:
    keeping = store(file)
    keeping.keep(instance())
    keeping.keep(instance(replace(RECORD, life=replace(RECORD.life, generation=5))))

    assert [5] == [each.life.generation for each in read_state(file, LIFE).instances]


async def test_a_daemon_that_dies_during_adoption_loses_no_record(file: StateFile) -> None:
    """The first adopted record is written together with the others."""
    others = [replace(RECORD, spec=replace(SPEC, id=number)) for number in (4, 5)]
    keeping = StateStore(file, LIFE, dict, [RECORD, *others])

    keeping.keep(instance())

    assert [each.spec.id for each in read_state(file, LIFE).instances] == [3, 4, 5]


async def test_a_forgotten_instance_is_not_read(file: StateFile) -> None:
    keeping = store(file)
    one = instance()
    keeping.keep(one)
    keeping.forget(one)

    assert State() == read_state(file, LIFE)

    keeping.forget_all()
    assert file.read() is None


def hinder(file: StateFile) -> Path:
    """Make the file unwritable as long as the returned path exists."""
    draft = file.path.with_suffix(".draft")
    draft.mkdir()
    return draft


async def test_a_failed_write_is_repeated_with_the_next_change(file: StateFile) -> None:
    keeping = store(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    problems = [file.problem]

    hindrance.rmdir()
    keeping.write()
    problems.append(file.problem)

    assert [str(file.path) in str(each) for each in problems] == [True, False]
    assert problems[1] is None
    assert len(read_state(file, LIFE).instances) == 1


async def test_a_failed_write_is_retried_without_a_change(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.app.state_store.AGAIN", 0.01)
    keeping = store(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    await until(lambda: file.problem)

    hindrance.rmdir()
    await until(lambda: file.problem is None)

    assert len(read_state(file, LIFE).instances) == 1


async def test_a_closed_store_does_not_retry_a_write(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.app.state_store.AGAIN", 0.01)
    keeping = store(file)
    hindrance = hinder(file)
    keeping.keep(instance())
    other = StateFile(file.path.with_name("other.json"))
    witness = store(other)
    hindrance_of_other = hinder(other)
    witness.keep(instance())
    keeping.close()
    hindrance.rmdir()
    hindrance_of_other.rmdir()
    await until(lambda: other.problem is None)  # who is not closed has tried again meanwhile
    witness.close()

    assert file.read() is None


def test_a_missing_state_file_is_an_empty_state(file: StateFile) -> None:
    assert State() == read_state(file, LIFE)


@pytest.mark.parametrize("other", [BootIdentity("boot2", 17), BootIdentity("boot", 18)])
async def test_state_of_another_boot_is_ignored(file: StateFile, other: BootIdentity) -> None:
    store(file).keep(instance())

    assert State() == read_state(file, other)


BROKEN = [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"\0" * 100, b"[" * 100_000, b"{}"]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:8]))
def test_a_file_without_a_state_is_refused(file: StateFile, content: bytes) -> None:
    file.write(content)

    with pytest.raises(StateError, match=r"state\.json"):
        read_state(file, LIFE)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="directory"):
        read_state(StateFile(tmp_path), LIFE)


@pytest.mark.parametrize("version", [0, 2, "1", None])
async def test_a_file_of_another_version_is_read(file: StateFile, version: Any) -> None:  # noqa: ANN401
    """A newer version may write more fields, and an older one wrote fewer."""
    store(file, SPEC).keep(instance())
    state = json.loads(file.path.read_text())
    state.update(version=version, novelty={"a": 1})
    state["instances"][0]["life"]["novelty"] = state["applied"][0]["novelty"] = [1]
    file.write(json.dumps(state).encode())

    read = read_state(file, LIFE)

    assert [each.life for each in read.instances] == [RECORD.life]
    assert read.applied == {3: SPEC}
    assert not read.losses


async def three(file: StateFile) -> dict[str, Any]:
    keeping = store(file)
    for number in (3, 4, 5):
        spec = replace(SPEC, id=number, name=f"n{number}", port=3001 + number)
        keeping.keep(instance(InstanceRecord(spec, spec, RECORD.life, None)))
    state: dict[str, Any] = json.loads(file.path.read_text())
    return state


async def test_an_invalid_record_does_not_affect_the_others(file: StateFile) -> None:
    state = await three(file)
    del state["instances"][1]["spec"]["environment"]
    file.write(json.dumps(state).encode())

    read = read_state(file, LIFE)

    assert [each.spec.name for each in read.instances] == ["n3", "n5"]
    assert [each.partition(":")[0] for each in read.losses] == ["instance 4"]
    assert not read.uncertain


async def test_an_unknown_state_drops_only_the_state(
    file: StateFile,
) -> None:
    state = await three(file)
    state["instances"][1]["life"]["state"] = {"is": "Sleeping", "since": 5}
    file.write(json.dumps(state).encode())

    read = read_state(file, LIFE)

    assert [each.spec.name for each in read.instances] == ["n3", "n4", "n5"]
    assert read.losses == ("instance 4 'n4': life.state",)
    assert read.uncertain == {4}
    assert (Stopped(), 4) == (read.instances[1].life.state, read.instances[1].life.generation)


@pytest.mark.parametrize("pid", [0, -1, 1 << 22, 1 << 70])
async def test_an_impossible_pid_drops_only_the_process(file: StateFile, pid: int) -> None:
    """To the kernel 0 and negative numbers mean a group or all processes."""
    state = await three(file)
    state["instances"][1]["process"] = {"pid": pid, "start_time": 5}
    file.write(json.dumps(state).encode())

    read = read_state(file, LIFE)

    assert [each.spec.name for each in read.instances] == ["n3", "n4", "n5"]
    assert read.losses == ("instance 4 'n4': process",)
    assert read.uncertain == {4}
    assert read.instances[1].process is None


async def test_a_damaged_line_drops_one_instance(file: StateFile) -> None:
    await three(file)
    lines = file.path.read_bytes().split(b"\n")
    lines[2] = lines[2][:40] + b"\0\0" + lines[2][42:]
    file.write(b"\n".join(lines))

    read = read_state(file, LIFE)

    assert [each.spec.id for each in read.instances] == [3, 5]
    assert len(read.losses) == 1


async def test_every_truncation_is_detected(file: StateFile) -> None:
    """Complete records are read, and the rest is reported as lost."""
    await three(file)
    whole = file.path.read_bytes().rstrip()
    read: set[int] = set()

    for length in range(0, len(whole), 11):
        file.write(whole[:length])
        try:
            state = read_state(file, LIFE)
        except StateError:
            continue
        assert state.losses
        read.add(len(state.instances))

    assert read >= {0, 1, 2}


async def test_the_identity_is_read_back(file: StateFile) -> None:
    StateStore(file, LIFE, dict, identity="0123456789abcdef").write()

    assert written_identity(file) == "0123456789abcdef"
    file.write(b'{"identity": 7}')
    assert written_identity(file) is None
    file.write(b"\0")
    assert written_identity(file) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_random_content_raises_only_the_documented_error(file: StateFile, content: bytes) -> None:
    file.write(content)

    with pytest.raises(StateError):
        read_state(file, LIFE)


async def test_a_fleet_restores_the_stored_state(file: StateFile) -> None:
    store(file).keep(instance())
    fleet = Fleet(Stage().context, 8001)

    for record in read_state(file, LIFE).instances:
        fleet.restore(record)

    (found,) = list(fleet)
    assert (SPEC, RECORD.life) == (found.spec, found.life)
    await fleet.release()


def test_an_unchanged_entry_is_serialized_once(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {number: replace(SPEC, id=number) for number in range(10)}
    keeping = StateStore(file, LIFE, lambda: entries)
    keeping.write()
    worded: list[object] = []

    def worded_anew(spec: InstanceSpec) -> object:
        worded.append(spec)
        return dump(spec)

    monkeypatch.setattr("comfysup.app.state_store.dump", worded_anew)
    keeping.write()
    assert worded == []
    entries[4] = replace(SPEC, id=4, port=4000)
    del entries[5]
    keeping.write()

    assert worded == [entries[4]]
    assert read_state(file, LIFE).applied == entries
