"""Which process the record of an instance belongs to."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest

from comfysup.linux.process.proc import read_stat
from comfysup.linux.rundir.state_file import StateFile
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.records import InstanceRecord
from tests.scenarios.waiting import until
from tests.unit.app.recovering import (
    OPTIONS,
    SLEEP,
    Launch,
    fifo_in,
    record_of,
    recovered_from,
    seen,
    written,
)
from tests.unit.linux.children import alive


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
    """The file was edited."""
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
    """A zombie has no variables; its exit status is not reported yet."""
    process = launch("7:12", *OPTIONS)
    await until(lambda: seen(word))
    record = naming(process)
    os.kill(process.pid, SIGKILL)
    await until(lambda: (stat := read_stat(process.pid)) and stat.ended)

    recovered = await recovered_from(written(StateFile(tmp_path / "state"), record), word)

    assert [each.process for each in recovered.state.instances] == [record.process]
