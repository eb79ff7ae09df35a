"""Stops and deaths of the daemon during a reload."""

from pathlib import Path

import pytest

from comfysup.model.instances_file import Failure
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import Stopped
from comfysup.supervision.records import InstanceRecord
from tests.unit.app.scene import QUICK, entry, ids, scene


async def test_a_stop_of_all_during_a_reload_keeps_the_instances_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1))
        end = here.reloader._end

        async def end_and_more(*specs: list[InstanceSpec]) -> dict[int, Failure]:
            failed = await end(*specs)
            await here.fleet.stop_all(QUICK)
            return failed

        monkeypatch.setattr(here.reloader, "_end", end_and_more)
        here.write(entry(0, extra_args="--lowvram"), entry(1), entry(2))
        outcome = await here.reloader.reload()

        assert ids(outcome) == {"left_alone": [1], "failed": [0, 2]}
        assert {each.message for each in outcome.failed} == {"stopped while starting"}
        assert here.launcher.alive() == []
        monkeypatch.undo()
        assert await here.reload(entry(0, extra_args="--lowvram"), entry(1), entry(2)) == {
            "left_alone": [0, 1, 2]
        }


async def test_an_instance_stopped_by_a_reload_is_recorded_as_returning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1))
        end = here.reloader._end
        records: list[InstanceRecord] = []

        async def end_and_look(*specs: list[InstanceSpec]) -> dict[int, Failure]:
            failed = await end(*specs)
            records.extend(each.record for each in here.fleet)
            return failed

        monkeypatch.setattr(here.reloader, "_end", end_and_look)
        done = await here.reload(entry(0, extra_args="--lowvram"), entry(1))

        assert done == {"restarted": [0], "left_alone": [1]}
        assert [each.returning for each in records] == [True, False]
        assert isinstance(records[0].life.state, Stopped)
        assert not any(each.record.returning for each in here.fleet)


async def test_an_instance_stopped_by_a_caller_during_a_reload_is_not_recorded_as_returning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        end = here.reloader._end
        records: list[InstanceRecord] = []

        async def end_and_stop(*specs: list[InstanceSpec]) -> dict[int, Failure]:
            failed = await end(*specs)
            await here.fleet.stop(here.instance(0))
            records.append(here.instance(0).record)
            return failed

        monkeypatch.setattr(here.reloader, "_end", end_and_stop)
        await here.reload(entry(0, extra_args="--lowvram"))

        assert [each.returning for each in records] == [False]
