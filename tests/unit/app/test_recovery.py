import threading
from pathlib import Path

import pytest

from comfysup.app import recovery as adoption
from comfysup.app.recovery import RecoveredState, sweep
from comfysup.app.state_store import State
from comfysup.linux.executor import Executor
from comfysup.linux.process import census
from comfysup.linux.process.proc import read_stat
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Starting
from comfysup.supervision.protocols import ProcessRecord
from tests.scenarios.waiting import until
from tests.unit.app.recovering import OPTIONS, Launch, record_of, recovered_from, seen, written
from tests.unit.linux.children import alive


async def swept(recovered: RecoveredState) -> None:
    threads = Executor("sweeps", 4, reserve=1)
    try:
        await sweep(recovered.strays, threads)
    finally:
        threads.shutdown()


@pytest.fixture
def broken(tmp_path: Path) -> StateFile:
    file = StateFile(tmp_path / "state.json")
    file.write(b"{ broken")
    return file


async def test_running_instances_are_recovered_when_the_file_is_broken(
    launch: Launch, word: str, broken: StateFile
) -> None:
    process = launch("7:12", *OPTIONS, "--lowvram", "a b")
    await until(lambda: word in str(seen(word)))

    recovered = await recovered_from(broken, word)

    (record,) = recovered.state.instances
    stat = read_stat(process.pid)
    assert stat is not None
    assert ProcessRecord(process.pid, stat.start_time) == record.process
    assert record.spec == record.launched
    assert (record.spec.id, record.spec.environment, record.spec.port) == (7, "comm", 3007)
    assert record.spec.extra_args == ("--lowvram", "a b")
    assert record.life.generation == 12
    assert isinstance(record.life.state, Starting)
    assert broken.read() is None
    assert broken.path.with_suffix(".broken").read_bytes() == b"{ broken"


MARKERS = ["7", "7:1:2", "x:1", "7:x", ":", "7:" + "9" * 5_000, "-1:2", "٣:1"]


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: marker[:8])
async def test_a_process_with_a_malformed_marker_is_left_running(
    launch: Launch, word: str, broken: StateFile, marker: str
) -> None:
    process = launch(marker, *OPTIONS)
    await until(lambda: seen(word))

    assert (await recovered_from(broken, word)).state == State()
    assert alive(process.pid)


async def test_a_process_that_is_not_comfyui_is_reported_and_left_running(
    launch: Launch, word: str, broken: StateFile, tmp_path: Path
) -> None:
    process = launch("7:1", *OPTIONS, cwd=tmp_path)
    await until(lambda: seen(word))

    assert (await recovered_from(broken, word)).state == State()
    assert alive(process.pid)


@pytest.mark.parametrize("hides", ["environ", "cmdline"])
async def test_an_unreadable_process_is_skipped(
    launch: Launch,
    word: str,
    broken: StateFile,
    monkeypatch: pytest.MonkeyPatch,
    hides: str,
) -> None:
    """The others are recovered; only a thread waits for that one."""
    stuck, well = launch("7:12", *OPTIONS), launch("8:3", *OPTIONS)
    await until(lambda: len(seen(word)) == 2)
    answers = threading.Event()
    looks = {"environ": "read_marker", "cmdline": "read_command"}
    look = getattr(adoption, looks[hides])

    def hang(pid: int) -> object:
        if pid == stuck.pid:
            answers.wait()
        return look(pid)

    monkeypatch.setattr(adoption, looks[hides], hang)
    monkeypatch.setattr(census, "PATIENCE", 0.5)
    recovered = await recovered_from(broken, word)
    answers.set()

    assert [each.process.pid for each in recovered.state.instances if each.process] == [well.pid]
    assert alive(stuck.pid)


async def test_a_valid_file_is_used(tmp_path: Path, word: str) -> None:
    recovered = await recovered_from(StateFile(tmp_path / "state.json"), word)

    assert recovered.state == State()
    assert not recovered.strays


@pytest.mark.parametrize("known", [False, True], ids=["not known", "known by an older generation"])
async def test_an_instance_missing_from_an_outdated_file_is_recognised(
    launch: Launch,
    word: str,
    tmp_path: Path,
    known: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The previous daemon could not write the file."""
    process = launch("7:12", *OPTIONS)
    await until(lambda: word in str(seen(word)))
    spec = InstanceSpec(7, "mine", "comm", 3007, gpu="auto")
    records = [record_of(spec, 11)] if known else []

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), *records), word)
    await swept(recovered)

    (record,) = recovered.state.instances
    assert alive(process.pid)
    assert record.process is not None
    assert (record.process.pid, record.life.generation) == (process.pid, 12)
    assert record.spec.name == ("mine" if known else "instance_7")
    assert record.spec.gpu == ("auto" if known else None)
    assert record.life.restarts == (3 if known else 0)


async def test_the_command_of_a_running_process_overrides_the_recorded_one(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    launch("7:12", *OPTIONS, "--lowvram")
    await until(lambda: word in str(seen(word)))
    older = record_of(InstanceSpec(7, "mine", "comm", 3001, gpu="auto"), 11)

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), older), word)

    (record,) = recovered.state.instances
    assert (record.spec.port, record.spec.extra_args) == (3007, ("--lowvram",))


async def test_only_strays_are_swept(launch: Launch, word: str, tmp_path: Path) -> None:
    """An unknown process is reported and left running."""
    own, old, unknown = launch("1:2"), launch("1:1"), launch("2:1")
    foreign = launch("1:1", identity=word[::-1])
    await until(lambda: len(seen(word)) == 3 and seen(word[::-1]))
    record = record_of(InstanceSpec(1, "one", "comm", 3001), 2, own.pid)

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), record), word)
    await swept(recovered)

    assert [alive(each.pid) for each in (own, old, unknown, foreign)] == [True, False, True, True]


async def test_no_process_is_a_stray_if_the_file_is_broken(
    launch: Launch, word: str, broken: StateFile
) -> None:
    launch("7:12", *OPTIONS)
    launch("7:11", *OPTIONS)
    await until(lambda: len(seen(word)) == 2)

    recovered = await recovered_from(broken, word)

    assert [each.life.generation for each in recovered.state.instances] == [12]
    assert not recovered.strays
