"""Which entries count as applied when a caller or a reload starts their instances."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from comfysup.config.instances_file import InstancesFile
from comfysup.supervision.life import Phase
from tests.unit.app.scene import QUICK, entry, ids, scene
from tests.unit.supervision.fakes import (
    FakeLauncher,
    SlowLauncher,
    spec_of,
)


async def test_an_instance_that_a_caller_stopped_stays_stopped_until_its_entry_changes(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)

        assert await here.reload(entry(0)) == {"left_alone": [0]}
        assert await here.reload(entry(0, description="new")) == {"updated": [0]}
        assert here.instance(0).life.phase is Phase.STOPPED
        assert await here.reload(entry(0, port=3005)) == {"started": [0]}


async def test_a_start_with_the_settings_of_the_file_applies_its_entry(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1), entry(2, enabled=False))
        for number in (0, 1, 2):
            await here.start(spec_of(number))
        await here.fleet.stop(here.instance(0), escalation=QUICK)
        await here.fleet.remove(here.instance(1))

        planned = await here.reloader.plan()

        assert {each.spec.id: each.reason for each in planned.plan} == {
            0: "its entry is unchanged; a caller stopped it, or it failed",
            1: "a caller removed it; its entry asks for no new start",
            2: "a caller started it; its entry is disabled",
        }
        # The next daemon knows too.
        assert here.kept[-1].keys() == {0, 1}


async def test_a_start_is_applied_before_a_later_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a start during the read of the file for an earlier one."""
    reads, go_on = asyncio.Event(), asyncio.Event()
    async with scene(tmp_path) as here:

        async def read() -> InstancesFile:
            reads.set()
            await go_on.wait()
            return here.read()

        monkeypatch.setattr(here.reloader, "_read", read)
        here.write(entry(0), entry(1))
        await here.start(spec_of(0))
        await reads.wait()
        await here.start(spec_of(1))
        await here.fleet.stop(here.instance(1), escalation=QUICK)
        reload = asyncio.create_task(here.reloader.reload())
        await asyncio.sleep(0)  # it waits for its turn
        go_on.set()

        assert ids(await reload) == {"left_alone": [0, 1]}


async def test_a_start_with_other_settings_applies_no_entry(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0, port=4000))
        await here.start(spec_of(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)

        assert await here.reload(entry(0, port=4000)) == {"started": [0]}


async def test_an_entry_written_after_the_start_is_new(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write()
        await here.start(spec_of(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)
        await here.reloader.plan()

        assert await here.reload(entry(0)) == {"started": [0]}


async def test_the_next_reload_applies_the_settings_that_a_start_left_out(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0, name="main", stop_grace=5))
        await here.start(spec_of(0))

        outcome = await here.reloader.reload()

        assert ids(outcome) == {"updated": [0]}
        assert [each.reason for each in outcome.plan] == [
            "its entry differs: name instance_0 → main, stop_grace 10 → 5; no restart needed"
        ]


async def test_a_start_with_the_settings_of_a_changed_entry_applies_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)
        here.write(entry(0, port=4000))
        await here.start(replace(spec_of(0), port=4000))
        await here.fleet.stop(here.instance(0), escalation=QUICK)

        assert ids(await here.reloader.reload()) == {"left_alone": [0]}


async def test_an_entry_counts_as_applied_before_its_process_exists(tmp_path: Path) -> None:
    """The record of a daemon that dies during a reload."""
    launcher = SlowLauncher()
    async with scene(tmp_path, launcher) as here:
        reload = asyncio.create_task(here.reload(entry(0), entry(1)))
        await launcher.waiting.wait()
        at_launch = dict(here.reloader.applied)
        launcher.gate.set()

        assert (await reload) == {"started": [0, 1]}
        assert 0 in at_launch
        assert here.reloader.applied == {each.spec.id: each.spec for each in here.fleet}


async def test_a_refused_entry_is_not_applied(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    launcher.strangers[3001] = "nginx (pid 12)"
    async with scene(tmp_path, launcher) as here:
        assert await here.reload(entry(0)) == {"failed": [0]}

        assert here.reloader.applied == {}
