"""Autolaunch: which entries start, and which are reported as missing."""

import asyncio
from pathlib import Path

import pytest

from comfysup.app.autolaunch import autolaunch, pass_over
from tests.unit.app.scene import QUICK, entry, scene
from tests.unit.supervision.fakes import (
    spec_of,
)


async def test_an_autolaunched_entry_counts_as_applied(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1))
        await here.autolaunch()

        assert await here.reload(entry(0)) == {"left_alone": [0], "stopped": [1]}


async def test_a_reload_starts_the_entries_that_autolaunch_has_not_started_yet(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1), global_settings={"startup_delay": 0.2})
        launching = asyncio.create_task(here.autolaunch())
        await here.stage.until(lambda: here.launcher.living(0) == 1)

        assert await here.reload(entry(0), entry(2)) == {"left_alone": [0], "started": [2]}
        await launching

        assert here.specs().keys() == {0, 2}


async def test_an_unreadable_file_does_not_end_the_autolaunch(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1), global_settings={"startup_delay": 0.2})
        launching = asyncio.create_task(here.autolaunch())
        await here.stage.until(lambda: here.launcher.living(0) == 1)
        here.file.write_text("{")

        await here.reloader.reload()
        await launching

        assert here.specs().keys() == {0, 1}


async def test_the_next_reload_starts_an_entry_that_autolaunch_could_not_start(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.launcher.strangers[3001] = "python (pid 17)"
        here.write(entry(0))
        await here.autolaunch()
        assert here.specs() == {}
        del here.launcher.strangers[3001]

        assert await here.reload(entry(0)) == {"started": [0]}


async def test_an_entry_missing_from_the_table_is_awaited_and_reported(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.launcher.strangers[3002] = "python (pid 17)"
        here.write(entry(0), entry(1), entry(2, prot=1), entry(3, port="x", enabled=False), 7)
        here.shortfall.expect(here.read(), ())
        before = here.shortfall.waiting_for
        await here.autolaunch()
        after = here.shortfall.waiting_for
        said = here.troubles[-1]
        here.shortfall.entered(1)

    mistaken = ["instances[2] (id 2): mistaken", "instances[4]: mistaken"]
    assert before == [
        *mistaken,
        "0 'instance_0': not started yet",
        "1 'instance_1': not started yet",
    ]
    assert after == [*mistaken, "1 'instance_1': port_taken"]
    assert said is not None
    assert said.startswith(f"did not start all of {here.file}: 3 mistakes, see ")
    assert "port 3002" in said
    assert here.shortfall.waiting_for == mistaken
    assert here.troubles[-1] == said.partition("; port")[0]
    assert "instances[2] (id 2); instances[4]" in said


async def test_a_reload_replaces_the_awaited_entries(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.launcher.strangers[3001] = "python (pid 17)"
        here.write(entry(0), entry(1, port="x"))
        await here.autolaunch()
        del here.launcher.strangers[3001]
        here.write(entry(0))
        here.shortfall.follow(await here.reloader.reload())

    assert (here.shortfall.waiting_for, here.troubles[-1]) == ([], None)


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
async def test_a_file_that_cannot_be_read_is_reported_as_missing(tmp_path: Path, text: str) -> None:
    async with scene(tmp_path) as here:
        here.file.write_text(text, "latin-1")
        await here.autolaunch()

    assert here.shortfall.waiting_for == [f"{here.file}: mistaken"]


async def test_without_a_file_no_entry_is_missing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.file.unlink(missing_ok=True)
        await here.autolaunch()

    assert (here.shortfall.waiting_for, here.troubles[-1]) == ([], None)


async def test_an_instance_stopped_by_an_interrupted_reload_is_started_as_in_the_file(
    tmp_path: Path,
) -> None:
    """With autolaunch off, so that no other entry is expected."""
    async with scene(tmp_path) as here:
        here.write(entry(0, extra_args="--lowvram"), entry(1), entry(2))
        gone = spec_of(3)
        file = here.read()

        here.shortfall.expect_back([spec_of(0), gone], file)
        await autolaunch(here.reloader, file, here.shortfall)

        assert {each.spec.id: each.spec.extra_args for each in here.fleet} == {
            0: ("--lowvram",),
            3: gone.extra_args,
        }
        assert len(here.launcher.alive()) == 2
        assert here.reloader.applied.keys() == {0, 3}


@pytest.mark.parametrize("ref", ["1", "later"])
async def test_an_entry_that_autolaunch_has_not_reached_can_be_stopped(
    tmp_path: Path, ref: str
) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1, name="later"))
        file = here.read()
        here.shortfall.expect(file, ())
        assert [each.id for each in here.shortfall.pending] == [0, 1]

        held = pass_over(ref, here.shortfall, here.reloader, here.fleet)
        await autolaunch(here.reloader, file, here.shortfall)

        assert held is here.instance(1)
        assert held.idle
        assert here.instance(0).life.wanted
        assert here.shortfall.waiting_for == []
        assert here.reloader.applied.keys() == {0, 1}
        assert here.kept[0].keys() == {1}
        assert await here.reload(entry(0), entry(1, name="later")) == {"left_alone": [0, 1]}


async def test_an_entry_that_autolaunch_does_not_expect_is_not_entered(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0))
        await here.autolaunch()

        assert pass_over("0", here.shortfall, here.reloader, here.fleet) is None
        assert pass_over("7", here.shortfall, here.reloader, here.fleet) is None


async def test_autolaunch_skips_an_entry_that_was_stopped_before(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1))
        await here.fleet.stop_all(QUICK)

        await here.autolaunch()

        assert here.launcher.alive() == []
        assert here.shortfall.waiting_for == []
        assert here.reloader.applied.keys() == {0, 1}
