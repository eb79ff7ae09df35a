import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL

import pytest

from comfysup.adoption import recall, sweep_strays
from comfysup.settings import Settings
from comfysup.state import State
from comfysup.supervision.life import Life, Moment, Run, Running, Starting
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord, dump
from comfysup.supervision.spec import InstanceSpec
from comfysup.system.container_life import ContainerLife
from comfysup.system.lineage import marked
from comfysup.system.proc import read_stat
from comfysup.system.state_file import StateFile
from tests.scenarios.waiting import until
from tests.unit.system.children import alive

LIFE = ContainerLife("boot", 17)
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


@pytest.fixture
def broken(tmp_path: Path) -> StateFile:
    file = StateFile(tmp_path / "state.json")
    file.write(b"{ broken")
    return file


OPTIONS = ("--listen", "0.0.0.0", "--port", "3007")  # noqa: S104 - what an instance is given


async def test_what_lives_is_recalled_when_the_file_is_broken(
    launch: Launch, word: str, broken: StateFile
) -> None:
    process = launch("7:12", *OPTIONS, "--lowvram", "a b")
    await until(lambda: word in str(marked(word)))

    recalled = recall(broken, LIFE, word, SETTINGS)

    (record,) = recalled.state.instances
    stat = read_stat(process.pid)
    assert stat is not None
    assert ProcessRecord(process.pid, stat.start_time) == record.process
    assert record.spec == record.launched
    assert (record.spec.id, record.spec.environment, record.spec.port) == (7, "comm", 3007)
    assert record.spec.extra_args == ("--lowvram", "a b")
    assert record.life.generation == 12
    assert isinstance(record.life.state, Starting)
    assert not recalled.certain
    assert broken.read() is None
    assert broken.path.with_suffix(".broken").read_bytes() == b"{ broken"


MARKERS = ["7", "7:1:2", "x:1", "7:x", ":", "7:" + "9" * 5_000, "-1:2", "٣:1"]


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: marker[:8])
async def test_a_marker_of_another_form_is_said_and_left_alone(
    launch: Launch, word: str, broken: StateFile, marker: str
) -> None:
    process = launch(marker, *OPTIONS)
    await until(lambda: marked(word))

    assert recall(broken, LIFE, word, SETTINGS).state == State()
    assert alive(process.pid)


async def test_what_is_no_comfyui_is_said_and_left_alone(
    launch: Launch, word: str, broken: StateFile, tmp_path: Path
) -> None:
    process = launch("7:1", *OPTIONS, cwd=tmp_path)
    await until(lambda: marked(word))

    assert recall(broken, LIFE, word, SETTINGS).state == State()
    assert alive(process.pid)


async def test_a_sound_file_is_believed(tmp_path: Path, word: str) -> None:
    recalled = recall(StateFile(tmp_path / "state.json"), LIFE, word, SETTINGS)

    assert recalled.state == State()
    assert recalled.certain


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
async def test_what_a_file_that_is_behind_lacks_is_recognised(
    launch: Launch,
    word: str,
    tmp_path: Path,
    known: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The daemon before could not write any more."""
    process = launch("7:12", *OPTIONS)
    await until(lambda: word in str(marked(word)))
    spec = InstanceSpec(7, "mine", "comm", 3007, gpu="auto")
    records = [record_of(spec, 11)] if known else []

    recalled = recall(written(StateFile(tmp_path / "state"), *records), LIFE, word, SETTINGS)
    await sweep_strays(word, recalled.state.instances)

    (record,) = recalled.state.instances
    assert recalled.certain
    assert alive(process.pid)
    assert record.process is not None
    assert (record.process.pid, record.life.generation) == (process.pid, 12)
    assert record.spec.name == ("mine" if known else "instance_7")
    assert record.spec.gpu == ("auto" if known else None)
    assert record.life.restarts == (3 if known else 0)


async def test_another_command_than_the_known_one_is_believed(
    launch: Launch, word: str, tmp_path: Path
) -> None:
    launch("7:12", *OPTIONS, "--lowvram")
    await until(lambda: word in str(marked(word)))
    older = record_of(InstanceSpec(7, "mine", "comm", 3001, gpu="auto"), 11)

    recalled = recall(written(StateFile(tmp_path / "state"), older), LIFE, word, SETTINGS)

    (record,) = recalled.state.instances
    assert (record.spec.port, record.spec.extra_args) == (3007, ("--lowvram",))


async def test_only_strays_are_swept(launch: Launch, word: str) -> None:
    """What nobody knows at all may be somebody's work: it is said, and lives."""
    own, old, unknown = launch("1:2"), launch("1:1"), launch("2:1")
    foreign = launch("1:1", identity=word[::-1])
    await until(lambda: len(marked(word)) == 3 and marked(word[::-1]))

    await sweep_strays(word, [record_of(InstanceSpec(1, "one", "comm", 3001), 2, own.pid)])

    assert [alive(each.pid) for each in (own, old, unknown, foreign)] == [True, False, True, True]
