"""Carrying a reload out on a real fleet, in a world without one real process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from comfysup.app.autolaunch import Shortfall, autolaunch, pass_over
from comfysup.app.reload.reloader import Reloader
from comfysup.config.instances_file import InstancesFile, read_instances_file
from comfysup.config.settings import Settings
from comfysup.model.instances_file import Failure, ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase, Stopped
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.records import InstanceRecord
from comfysup.supervision.stop_escalation import StopEscalation
from tests.unit.supervision.fakes import (
    PATIENT,
    FakeLauncher,
    SlowLauncher,
    UnkillableProcess,
    spec_of,
)
from tests.unit.supervision.stage import Stage, fleet_on

QUICK = StopEscalation(terminate=0.001, kill=0.002, give_up=0.003)


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
    announced: list[ReloadOutcome] = field(default_factory=list)
    troubles: list[str | None] = field(default_factory=list)
    kept: list[dict[int, InstanceSpec]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reloader = Reloader(
            self.fleet,
            self.launcher,
            self.settings,
            self.read(),
            self.announced.append,
            lambda: asyncio.to_thread(self.read),
            lambda: self.kept.append(dict(self.reloader.applied)),
        )
        self.stage.on_admitted = self.reloader.admitted
        self.shortfall = Shortfall(self.file, lambda _file, said: self.troubles.append(said))

    async def autolaunch(self) -> None:
        """Start what the file names, as a daemon does at its beginning."""
        file = self.read()
        self.shortfall.expect(file, self.reloader.applied)
        await autolaunch(self.reloader, file, self.shortfall)

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
        await self.fleet.start(spec, WaitFor.SPAWN, 30)


def ids(outcome: ReloadOutcome) -> dict[str, list[int]]:
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
        here = Scene(file, settings, stage, fleet, launcher)
        yield here
        await here.reloader.close()


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


async def test_a_start_counts_before_a_reload_that_is_asked_for_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a start that comes while the file is read for an earlier one."""
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


async def test_a_start_with_other_settings_takes_nothing_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0, port=4000))
        await here.start(spec_of(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)

        assert await here.reload(entry(0, port=4000)) == {"started": [0]}


async def test_an_entry_that_was_written_after_the_start_is_new(tmp_path: Path) -> None:
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


async def test_a_start_of_a_changed_entry_takes_the_change_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        await here.fleet.stop(here.instance(0), escalation=QUICK)
        here.write(entry(0, port=4000))
        await here.start(replace(spec_of(0), port=4000))
        await here.fleet.stop(here.instance(0), escalation=QUICK)

        assert ids(await here.reloader.reload()) == {"left_alone": [0]}


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
            f"cannot read {here.file}: there is no such file; COMFYSUP_INSTANCES_FILE names another"
        ]


async def test_a_mistake_costs_its_own_entry_and_stops_no_instance(tmp_path: Path) -> None:
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
            "instance 0 'instance_0' is left unchanged until the errors are corrected",
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
            "global_settings.log_directory has changed: it takes effect when the daemon restarts",
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
        for _ in range(100):  # turns of the loop in which it could go on
            await asyncio.sleep(0)
        assert not second.done()

        launcher.gate.set()

        assert ids(await first) == {"started": [0]}
        assert ids(await second) == {"stopped": [0], "started": [1]}
        assert here.announced == [first.result(), second.result()]


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


async def test_a_file_that_is_not_legible_does_not_end_the_autolaunch(tmp_path: Path) -> None:
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
async def test_a_file_that_cannot_be_read_is_waited_for_as_a_whole(
    tmp_path: Path, text: str
) -> None:
    async with scene(tmp_path) as here:
        here.file.write_text(text, "latin-1")
        await here.autolaunch()

    assert here.shortfall.waiting_for == [f"{here.file}: mistaken"]


async def test_without_a_file_nothing_is_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.file.unlink(missing_ok=True)
        await here.autolaunch()

    assert (here.shortfall.waiting_for, here.troubles[-1]) == ([], None)


async def test_an_entry_is_taken_on_before_there_is_a_process_of_it(tmp_path: Path) -> None:
    """What a daemon writes down that dies during a reload."""
    launcher = SlowLauncher()
    async with scene(tmp_path, launcher) as here:
        reload = asyncio.create_task(here.reload(entry(0), entry(1)))
        await launcher.waiting.wait()
        at_launch = dict(here.reloader.applied)
        launcher.gate.set()

        assert (await reload) == {"started": [0, 1]}
        assert 0 in at_launch
        assert here.reloader.applied == {each.spec.id: each.spec for each in here.fleet}


async def test_an_entry_that_is_refused_is_not_taken_on(tmp_path: Path) -> None:
    launcher = FakeLauncher()
    launcher.strangers[3001] = "nginx (pid 12)"
    async with scene(tmp_path, launcher) as here:
        assert await here.reload(entry(0)) == {"failed": [0]}

        assert here.reloader.applied == {}


async def test_a_stop_of_all_in_the_middle_of_a_reload_holds(
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


async def test_a_reload_that_a_death_interrupts_is_written_down_as_one_that_starts_again(
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


async def test_a_stop_in_the_middle_of_a_reload_outlives_a_death_too(
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


async def test_an_instance_that_an_interrupted_reload_stopped_is_started_as_the_file_says(
    tmp_path: Path,
) -> None:
    """With autolaunch off, so that nothing else of the file is expected."""
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
async def test_an_entry_that_autolaunch_has_not_come_to_can_be_stopped(
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
