"""Reloads of an instances file by a fleet of fake processes."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.app.scene import entry, ids, scene
from tests.unit.supervision.fakes import (
    FakeLauncher,
    SlowLauncher,
    UnkillableProcess,
    spec_of,
)


async def test_a_reload_starts_restarts_updates_stops_and_leaves_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2), entry(3))

        done = await here.reload(
            entry(0), entry(1, extra_args="--lowvram"), entry(2, name="renamed"), entry(4)
        )

        assert done == {
            "left_alone": [0],
            "restarted": [1],
            "updated": [2],
            "stopped": [3],
            "started": [4],
        }
        assert here.specs() == {
            0: ("instance_0", 3001),
            1: ("instance_1", 3002),
            2: ("renamed", 3003),
            4: ("instance_4", 3005),
        }
        assert [spec.extra_args for spec, _ in here.launcher.launches if spec.id == 1] == [
            (),
            ("--lowvram",),
        ]
        assert here.launcher.living(2) == 1
        assert here.launcher.living(3) == 0


async def test_a_plan_changes_nothing_and_matches_the_following_reload(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2), entry(3))
        here.launcher.broken_environments.add("gone")
        entries = (entry(0), entry(1, extra_args="--lowvram"), entry(2, name="renamed"), entry(4))
        here.write(*entries, entry(5, environment="gone"))
        launches = len(here.launcher.launches)

        planned = await here.reloader.plan()

        assert planned.dry_run
        assert len(here.launcher.launches) == launches
        assert here.specs().keys() == {0, 1, 2, 3}
        done = await here.reloader.reload()
        assert ids(planned) == ids(done)
        assert planned.plan == done.plan
        assert ids(done)["failed"] == [5]


async def test_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        assert await here.reload(entry(0), entry(1, enabled=False)) == {"started": [0]}
        launches = len(here.launcher.launches)

        assert await here.reload(entry(0), entry(1, enabled=False)) == {"left_alone": [0]}
        assert len(here.launcher.launches) == launches


async def test_two_instances_swap_their_ports(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0, port=3001), entry(1, port=3002))

        done = await here.reload(entry(0, port=3002), entry(1, port=3001))

        assert done == {"restarted": [0, 1]}
        assert here.specs() == {0: ("instance_0", 3002), 1: ("instance_1", 3001)}
        assert not here.launcher.overlaps


async def test_two_instances_swap_their_names_without_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0, name="a"), entry(1, name="b"))

        done = await here.reload(entry(0, name="b"), entry(1, name="a"))

        assert done == {"updated": [0, 1]}
        assert here.specs() == {0: ("b", 3001), 1: ("a", 3002)}


async def test_names_and_ports_move_between_three_instances(tmp_path: Path) -> None:
    """One is stopped, one restarted and one started; each takes the name and port of another."""
    async with scene(tmp_path) as here:
        await here.reload(entry(0, name="a", port=3001), entry(1, name="b", port=3002))

        done = await here.reload(entry(1, name="a", port=3001), entry(2, name="b", port=3002))

        assert done == {"stopped": [0], "restarted": [1], "started": [2]}
        assert here.specs() == {1: ("a", 3001), 2: ("b", 3002)}


async def test_the_name_of_an_instance_started_by_a_caller_is_kept(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        await here.start(spec_of(7, name="mine"))
        await here.reload(entry(0), entry(1, name="x"))

        here.write(entry(0, name="mine"), entry(1, name="instance_0"))
        outcome = await here.reloader.reload()

        # What was to get the name that 0 keeps cannot have it either.
        assert ids(outcome) == {"failed": [0, 1], "left_alone": [7]}
        assert [failure.code for failure in outcome.failed] == ["name_taken", "name_taken"]
        assert here.specs() == {0: ("instance_0", 3001), 1: ("x", 3002), 7: ("mine", 3008)}


async def test_a_refused_start_is_retried(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.launcher.strangers[3001] = "python (pid 17)"
        assert await here.reload(entry(0)) == {"failed": [0]}
        assert here.specs() == {}

        del here.launcher.strangers[3001]

        assert await here.reload(entry(0)) == {"started": [0]}


async def test_a_restart_that_could_not_succeed_leaves_the_instance_running(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.launcher.broken_environments.add("gone")
        here.launcher.strangers[4000] = "python (pid 17)"
        await here.reload(entry(0), entry(1))

        here.write(entry(0, environment="gone"), entry(1, port=4000))
        outcome = await here.reloader.reload()

        assert [failure.code for failure in outcome.failed] == ["unknown_environment", "port_taken"]
        assert here.launcher.living(0) == here.launcher.living(1) == 1
        assert await here.reload() == {"stopped": [0, 1]}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"port": 3008}, "port_taken"),
        ({"name": "mine", "extra_args": "--lowvram"}, "name_taken"),
    ],
    ids=["port", "name"],
)
async def test_a_restart_onto_the_port_of_another_instance_stops_no_instance(
    tmp_path: Path, changed: dict[str, object], code: str
) -> None:
    async with scene(tmp_path) as here:
        await here.start(spec_of(7, name="mine"))
        await here.reload(entry(0))
        launches = len(here.launcher.launches)

        here.write(entry(0, **changed))
        planned = await here.reloader.plan()
        outcome = await here.reloader.reload()

        assert [failure.code for failure in planned.failed] == [code]
        assert [failure.code for failure in outcome.failed] == [code]
        assert len(here.launcher.launches) == launches
        assert here.launcher.living(0) == 1
        assert here.specs()[0] == ("instance_0", 3001)


async def test_an_instance_that_is_refused_a_port_keeps_its_own(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.start(spec_of(7))
        await here.reload(entry(0), entry(1))
        launches = len(here.launcher.launches)

        done = await here.reload(entry(0, port=3008), entry(1, port=3001))

        assert done == {"failed": [0, 1], "left_alone": [7]}
        assert len(here.launcher.launches) == launches


async def test_a_policy_changes_while_the_process_runs(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0, stop_grace=5))

        assert await here.reload(entry(0, stop_grace=60)) == {"updated": [0]}
        assert here.instance(0).spec.policy.stop_grace == 60
        assert here.instance(0).life.generation == 1


async def test_a_restart_increments_the_generation(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.reload(entry(0, port=3009))

        assert here.instance(0).life.generation == 2


async def test_an_instance_that_cannot_be_stopped_is_reported_and_keeps_its_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.supervision.stop_escalation.KILL_PATIENCE", 0.01)
    async with scene(tmp_path, FakeLauncher(UnkillableProcess)) as here:
        await here.reload(entry(0, stop_grace=0.01), entry(1, stop_grace=0.01))

        here.write(entry(1, port=4000, stop_grace=0.01))
        outcome = await here.reloader.reload()

        assert ids(outcome) == {"failed": [0, 1]}
        assert [failure.code for failure in outcome.failed] == ["stop_failed", "stop_failed"]
        assert here.specs() == {0: ("instance_0", 3001), 1: ("instance_1", 3002)}


# ---- more than one at once


async def test_concurrent_reloads_run_one_after_another(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with scene(tmp_path, launcher) as here:
        here.write(entry(0))
        first = asyncio.create_task(here.reloader.reload())
        await launcher.waiting.wait()
        here.write(entry(1))
        second = asyncio.create_task(here.reloader.reload())
        for _ in range(100):  # turns of the loop in which it could go on
            await asyncio.sleep(0)
        assert not second.done()

        launcher.gate.set()

        assert ids(await first) == {"started": [0]}
        assert ids(await second) == {"stopped": [0], "started": [1]}
        assert here.announced == [first.result(), second.result()]
