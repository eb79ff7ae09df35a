"""Carrying a reload out on a real fleet, in a world without one real process."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from comfysup.autolaunch import autolaunch, shortfall
from comfysup.reload import Failure, Outcome, Reloader
from comfysup.settings import InstancesFile, Settings, read_instances_file
from comfysup.supervision.events import Asker
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Ladder, Phase
from comfysup.supervision.spec import InstanceSpec
from tests.supervision.fakes import PATIENT, FakeLauncher, SlowLauncher, UnkillableProcess, spec_of
from tests.supervision.stage import Stage, fleet_on

QUICK = Ladder(terminate=0.001, kill=0.002, give_up=0.003)


def entry(number: int, **fields: object) -> dict[str, object]:
    return {"id": number, **fields}


@dataclass
class Scene:
    """A fleet that follows a file, and what was announced of that."""

    file: Path
    settings: Settings
    stage: Stage
    fleet: Fleet
    launcher: FakeLauncher
    announced: list[Outcome] = field(default_factory=list)
    reported: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reloader = Reloader(
            self.fleet, self.launcher, self.settings, self.read(), self.announced.append
        )

    def failures(self, failures: Sequence[Failure]) -> None:
        self.reported.append(len(failures))

    def read(self) -> InstancesFile:
        return read_instances_file(self.file, self.settings)

    def write(self, *instances: object, **rest: object) -> None:
        self.file.write_text(json.dumps({"instances": instances, **rest}))

    async def reload(self, *instances: object, **rest: object) -> dict[str, list[int]]:
        """Write the file and reload it; return the ids in each list of the outcome."""
        self.write(*instances, **rest)
        return ids(await self.reloader.reload())

    def instance(self, number: int) -> Instance:
        return self.fleet.find(str(number))

    def specs(self) -> dict[int, tuple[str, int]]:
        return {each.spec.id: (each.spec.name, each.spec.port) for each in self.fleet}

    async def start(self, spec: InstanceSpec) -> None:
        """Start an instance as a caller does."""
        await self.fleet.start(spec, Asker.SPAWN, 30)


def ids(outcome: Outcome) -> dict[str, list[int]]:
    groups = ("started", "stopped", "restarted", "updated", "left_alone")
    found = {name: [spec.id for spec in getattr(outcome, name)] for name in groups}
    found["failed"] = [failure.spec.id for failure in outcome.failed]
    return {name: numbers for name, numbers in found.items() if numbers}


@asynccontextmanager
async def scene(tmp_path: Path, launcher: FakeLauncher | None = None) -> AsyncIterator[Scene]:
    launcher = launcher or FakeLauncher()
    stage = Stage(launcher)
    file = tmp_path / "instances.json"
    settings = Settings(instances_file=file, policy=PATIENT)
    async with fleet_on(stage) as fleet:
        yield Scene(file, settings, stage, fleet, launcher)


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


async def test_three_instances_pass_names_and_ports_on(tmp_path: Path) -> None:
    """One leaves, one is restarted and one is new: each takes what another had."""
    async with scene(tmp_path) as here:
        await here.reload(entry(0, name="a", port=3001), entry(1, name="b", port=3002))

        done = await here.reload(entry(1, name="a", port=3001), entry(2, name="b", port=3002))

        assert done == {"stopped": [0], "restarted": [1], "started": [2]}
        assert here.specs() == {1: ("a", 3001), 2: ("b", 3002)}


async def test_a_name_of_an_instance_that_a_caller_started_is_not_taken_away(
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


async def test_what_failed_before_it_was_tried_is_tried_again(tmp_path: Path) -> None:
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


async def test_what_a_caller_stopped_stays_stopped_until_its_entry_changes(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.fleet.stop(here.instance(0), ladder=QUICK)

        assert await here.reload(entry(0)) == {"left_alone": [0]}
        assert await here.reload(entry(0, description="new")) == {"updated": [0]}
        assert here.instance(0).life.phase is Phase.STOPPED
        assert await here.reload(entry(0, port=3005)) == {"started": [0]}


async def test_a_policy_changes_while_the_process_runs(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0, stop_grace=5))

        assert await here.reload(entry(0, stop_grace=60)) == {"updated": [0]}
        assert here.instance(0).spec.policy.stop_grace == 60
        assert here.instance(0).life.generation == 1


async def test_a_restart_counts_the_generations_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.reload(entry(0, port=3009))

        assert here.instance(0).life.generation == 2


async def test_what_cannot_be_ended_is_told_and_keeps_its_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfysup.supervision.life.KILL_PATIENCE", 0.01)
    async with scene(tmp_path, FakeLauncher(UnkillableProcess)) as here:
        await here.reload(entry(0, stop_grace=0.01), entry(1, stop_grace=0.01))

        here.write(entry(1, port=4000, stop_grace=0.01))
        outcome = await here.reloader.reload()

        assert ids(outcome) == {"failed": [0, 1]}
        assert [failure.code for failure in outcome.failed] == ["stop_failed", "stop_failed"]
        assert here.specs() == {0: ("instance_0", 3001), 1: ("instance_1", 3002)}


# ---- files that are wrong


@pytest.mark.parametrize("content", ["", '{"instances": [', "[]", '{"instances": 4}', "\0", None])
async def test_a_file_that_is_not_legible_changes_nothing(
    tmp_path: Path, content: str | None
) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        if content is None:
            here.file.unlink()
        else:
            here.file.write_text(content)

        outcome = await here.reloader.reload()

        assert not outcome.legible
        assert outcome.mistakes
        assert ids(outcome) == {}
        assert here.launcher.living(0) == 1
        assert len(here.announced) == 1
        assert await here.reload() == {"stopped": [0]}


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        outcome = await here.reloader.reload()

        assert [mistake.summary for mistake in outcome.mistakes] == [
            f"cannot read {here.file}: there is no such file"
        ]


async def test_a_mistake_costs_its_own_entry_and_stops_nobody(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2))

        here.write(entry(0, port="x"), entry(2, port=3005), entry(3))
        outcome = await here.reloader.reload()

        assert ids(outcome) == {
            "left_alone": [0],
            "stopped": [1],
            "restarted": [2],
            "started": [3],
        }
        assert [mistake.place for mistake in outcome.mistakes] == ["instances[0].port"]
        assert outcome.warnings == (
            "instance 0 'instance_0' is left as it is until the mistakes are mended",
        )


async def test_an_entry_that_does_not_tell_its_id_might_be_anybody(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2))

        done = await here.reload(entry(0), entry(0, name="copy", port=3009), entry(2))

        assert done == {"left_alone": [0, 1, 2]}
        assert await here.reload(entry(0), entry(2)) == {"left_alone": [0, 2], "stopped": [1]}


async def test_directories_that_changed_need_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), global_settings={"log_directory": "/elsewhere"})

        outcome = await here.reloader.reload()

        assert outcome.warnings == (
            "global_settings.log_directory has changed: that needs a restart of the daemon",
        )


# ---- more than one at once


async def test_reloads_take_turns(tmp_path: Path) -> None:
    launcher = SlowLauncher()
    async with scene(tmp_path, launcher) as here:
        here.write(entry(0))
        first = asyncio.create_task(here.reloader.reload())
        await launcher.waiting.wait()
        here.write(entry(1))
        second = asyncio.create_task(here.reloader.reload())
        await asyncio.sleep(0.05)
        assert not second.done()

        launcher.gate.set()

        assert ids(await first) == {"started": [0]}
        assert ids(await second) == {"stopped": [0], "started": [1]}
        assert here.announced == [first.result(), second.result()]


async def test_what_was_autolaunched_came_from_the_file(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1))
        await autolaunch(here.reloader, here.read(), here.failures)

        assert await here.reload(entry(0)) == {"left_alone": [0], "stopped": [1]}


async def test_a_reload_takes_over_what_autolaunch_has_not_started_yet(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1), global_settings={"startup_delay": 0.2})
        launching = asyncio.create_task(autolaunch(here.reloader, here.read(), here.failures))
        await here.stage.until(lambda: here.launcher.living(0) == 1)

        assert await here.reload(entry(0), entry(2)) == {"left_alone": [0], "started": [2]}
        await launching

        assert here.specs().keys() == {0, 2}


async def test_a_file_that_is_not_legible_does_not_end_the_autolaunch(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), entry(1), global_settings={"startup_delay": 0.2})
        launching = asyncio.create_task(autolaunch(here.reloader, here.read(), here.failures))
        await here.stage.until(lambda: here.launcher.living(0) == 1)
        here.file.write_text("{")

        await here.reloader.reload()
        await launching

        assert here.specs().keys() == {0, 1}


async def test_what_autolaunch_could_not_start_is_started_by_the_next_reload(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.launcher.strangers[3001] = "python (pid 17)"
        here.write(entry(0))
        await autolaunch(here.reloader, here.read(), here.failures)
        assert here.specs() == {}
        del here.launcher.strangers[3001]

        assert await here.reload(entry(0)) == {"started": [0]}


def test_what_is_not_in_the_table_is_a_sentence() -> None:
    refused = Failure(InstanceSpec(1, "b", "gone", 3002), "x", "cannot start instance 1 'b': why")
    tried = replace(refused, refused=False)

    assert shortfall(Path("/i.json"), 0, [tried]) is None
    assert shortfall(Path("/i.json"), 2, [refused, tried]) == (
        "did not start all of /i.json: 2 mistakes, see `comfysup config check`; "
        "cannot start instance 1 'b': why"
    )
