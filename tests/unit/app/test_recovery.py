import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from signal import SIGKILL

import pytest

from comfysup.app import recovery as adoption
from comfysup.app.recovery import RecoveredState, recover_state, sweep
from comfysup.app.state_store import State
from comfysup.config.settings import Settings
from comfysup.linux.executor import Executor
from comfysup.linux.host.boot_identity import BootIdentity
from comfysup.linux.process import census
from comfysup.linux.process.proc import all_pids, read_marker, read_stat
from comfysup.linux.process.tree import Found, marked
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Life, Moment, Run, Running, Starting
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord, dump
from tests.scenarios.waiting import until
from tests.unit.linux.children import alive

LIFE = BootIdentity("boot", 17)
SETTINGS = Settings.from_environ({}, uid=0)
SLEEP = "import time; time.sleep(60)"

Launch = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def word() -> str:
    """An identity that no other test has."""
    return os.urandom(8).hex()


@pytest.fixture
def launch(tmp_path: Path, word: str) -> Iterator[Launch]:
    """Starts what looks like an instance, with that marker after the identity."""
    directory = tmp_path / "ComfyUI-comm"
    directory.mkdir()
    main = directory / "main.py"
    main.write_text(SLEEP)
    made: list[subprocess.Popen[bytes]] = []

    def start(
        marker: str, *arguments: str, cwd: Path = directory, identity: str = word
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(main), *arguments],
            cwd=cwd,
            env={"COMFYSUP_MARKER": f"{identity}:{marker}"},
            start_new_session=True,
        )
        made.append(process)
        return process

    yield start
    for each in made:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, SIGKILL)
        each.wait()


def seen(word: str) -> dict[str, list[Found]]:
    """What lives with a marker that begins with that word."""
    markers = {pid: marker for pid in all_pids() if (marker := read_marker(pid))}
    return marked(word, markers)


def fifo_in(file: StateFile) -> Callable[[int, int], Path]:
    return lambda instance, generation: file.path.with_name(f"{instance}.{generation}")


async def recovered_from(file: StateFile, word: str) -> RecoveredState:
    processes = Executor("/proc")
    try:
        return await recover_state(file, LIFE, word, SETTINGS, processes, fifo_in(file))
    finally:
        processes.shutdown()


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


OPTIONS = ("--listen", "0.0.0.0", "--port", "3007")  # noqa: S104 - what an instance is given


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
    """The others are recalled, and nothing but a thread waits for that one."""
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


def written(file: StateFile, *records: InstanceRecord) -> StateFile:
    """A sound file of this life with those records."""
    state = {"version": 1, **asdict(LIFE), "applied": [], "instances": [*map(dump, records)]}
    file.write(json.dumps(state).encode())
    return file


def record_of(spec: InstanceSpec, generation: int, pid: int = 1) -> InstanceRecord:
    running = Running(Run(pid, Moment(0.0, 0.0)), None)
    life = Life(running, generation, restarts=3)
    return InstanceRecord(spec, spec, life, ProcessRecord(pid, 1))


@pytest.mark.parametrize("known", [False, True], ids=["not known", "known by an older generation"])
async def test_an_instance_missing_from_an_outdated_file_is_recognised(
    launch: Launch,
    word: str,
    tmp_path: Path,
    known: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The daemon before could not write any more."""
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
    """What nobody knows at all may be somebody's work: it is said, and lives."""
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


# ---- whose process a record names


def naming(
    process: subprocess.Popen[bytes], start_time: int | None = None, generation: int = 12
) -> InstanceRecord:
    """A record of instance 7 that names that process."""
    stat = read_stat(process.pid)
    assert stat is not None
    record = record_of(InstanceSpec(7, "mine", "comm", 3007), generation, process.pid)
    started = stat.start_time if start_time is None else start_time
    return replace(record, process=ProcessRecord(process.pid, started))


async def test_a_foreign_process_with_a_matching_start_time_is_not_adopted(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    """Somebody has edited the file."""
    stranger = launch("7:12", *OPTIONS, identity=word[::-1])
    await until(lambda: seen(word[::-1]))
    file = written(StateFile(tmp_path / "state"), naming(stranger))

    recovered = await recovered_from(file, word)

    (record,) = recovered.state.instances
    assert record.process == ProcessRecord(stranger.pid, 0)
    assert f"pid {stranger.pid} for instance 7 'mine'" in str(recovered.trouble)
    assert file.aside.exists()


async def test_the_own_process_is_recognised_although_the_record_names_a_foreign_one(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    stranger, own = launch("7:12", *OPTIONS, identity=word[::-1]), launch("7:12", *OPTIONS)
    await until(lambda: seen(word) and seen(word[::-1]))

    recovered = await recovered_from(written(StateFile(tmp_path / "s"), naming(stranger)), word)

    (record,) = recovered.state.instances
    assert record.process is not None
    assert (record.process.pid, record.spec.name) == (own.pid, "mine")


async def test_the_process_of_another_instance_is_not_adopted(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    other = launch("8:12", *OPTIONS)
    await until(lambda: seen(word))

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), naming(other)), word)

    record = next(each for each in recovered.state.instances if each.spec.id == 7)
    assert record.process == ProcessRecord(other.pid, 0)
    assert alive(other.pid)


@pytest.mark.parametrize("wrong", ["start time", "generation"])
async def test_a_marker_corrects_a_wrong_start_time_or_generation(
    launch: Launch, word: str, tmp_path: Path, wrong: str
) -> None:
    process = launch("7:12", *OPTIONS)
    await until(lambda: word in str(seen(word)))
    sound = naming(process)
    garbled = naming(process, 1) if wrong == "start time" else naming(process, generation=99)

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), garbled), word)

    (record,) = recovered.state.instances
    assert (record.process, record.life.generation) == (sound.process, 12)
    assert alive(process.pid)


async def test_a_process_without_readable_variables_is_recognised_by_its_output(
    word: str, tmp_path: Path
) -> None:
    """`setproctitle` overwrites them."""
    file = StateFile(tmp_path / "state")
    fifo = fifo_in(file)(7, 12)
    os.mkfifo(fifo)
    output = os.open(fifo, os.O_RDWR)
    process = subprocess.Popen(  # noqa: ASYNC220 - takes no time
        [sys.executable, "-c", SLEEP], env={}, stdout=output, start_new_session=True
    )
    os.close(output)
    try:
        record = naming(process)
        recovered = await recovered_from(written(file, record), word)
    finally:
        process.kill()
        process.wait()

    assert [each.process for each in recovered.state.instances] == [record.process]
    assert recovered.trouble is None


async def test_the_record_of_an_ended_process_is_kept(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    """A zombie has no variables; how it ended is still to be asked for."""
    process = launch("7:12", *OPTIONS)
    await until(lambda: seen(word))
    record = naming(process)
    os.kill(process.pid, SIGKILL)
    await until(lambda: (stat := read_stat(process.pid)) and stat.ended)

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), record), word)

    assert [each.process for each in recovered.state.instances] == [record.process]
