"""Conditions of a running instance, which end with its process."""

from collections.abc import Callable

from typing_extensions import override

from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Phase
from comfysup.supervision.lifecycle_events import WaitFor
from comfysup.supervision.protocols import Condition
from tests.unit.supervision.asking import DONE, restart, start, stop
from tests.unit.supervision.fakes import FakeLauncher, FakeProber, FakeProcess, NeverReadyProbe
from tests.unit.supervision.stage import Stage, alive

BROKEN = Condition(
    "custom_node_failed", "the custom node 'broken' could not be imported", "mend it"
)
STICKING = Condition("gpu_error", "every prompt fails")


class BrokenProcess(FakeProcess):
    """A process with a custom node that could not be imported."""

    @override
    async def conditions(self) -> list[Condition]:
        return [BROKEN]


def has(instance: Instance, *conditions: Condition) -> Callable[[], bool]:
    return lambda: tuple(instance.conditions) == conditions


async def test_a_process_is_examined_when_it_is_ready() -> None:
    stage = Stage(FakeLauncher(BrokenProcess))
    async with alive(stage) as instance:
        assert await start(instance) == DONE
        await stage.until(has(instance, BROKEN))

        assert instance.life.phase is Phase.RUNNING


async def test_a_process_that_is_not_ready_is_not_examined() -> None:
    stage = Stage(FakeLauncher(BrokenProcess), FakeProber(NeverReadyProbe))
    async with alive(stage) as instance:
        await start(instance, WaitFor.SPAWN)

        assert instance.conditions == ()


async def test_later_conditions_are_appended_without_duplicates() -> None:
    stage = Stage(FakeLauncher(BrokenProcess))
    async with alive(stage) as instance:
        await start(instance)
        await stage.until(has(instance, BROKEN))
        instance.note(STICKING)
        instance.note(STICKING)

        assert instance.conditions == (BROKEN, STICKING)


async def test_the_next_process_begins_without_the_conditions_of_the_last() -> None:
    launcher = FakeLauncher(BrokenProcess)
    stage = Stage(launcher)
    async with alive(stage) as instance:
        await start(instance)
        await stage.until(has(instance, BROKEN))
        launcher.make = FakeProcess
        assert await restart(instance) == DONE

        assert instance.conditions == ()


async def test_a_stopped_instance_has_and_accepts_no_conditions() -> None:
    stage = Stage(FakeLauncher(BrokenProcess))
    async with alive(stage) as instance:
        await start(instance)
        await stage.until(has(instance, BROKEN))
        await stop(instance)
        instance.note(STICKING)

        assert instance.conditions == ()
