"""Instances and fleets with fake collaborators."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance
from comfysup.supervision.life import Moment
from comfysup.supervision.lifecycle_events import LifecycleEvent
from comfysup.supervision.protocols import InstanceContext, Launcher, Prober
from tests.unit.supervision.fakes import FakeLauncher, FakeProber, spec_of


class Stage:
    """The collaborators of an instance, and its emitted events."""

    def __init__(self, launcher: Launcher | None = None, prober: Prober | None = None) -> None:
        self.notices: list[tuple[int, LifecycleEvent]] = []
        self.deaf_to: set[LifecycleEvent] = set()
        self.on_admitted: Callable[[InstanceSpec], None] = lambda _spec: None
        self._changed = asyncio.Event()
        self.context = InstanceContext(
            launcher or FakeLauncher(),
            prober or FakeProber(),
            now,
            self._observe,
            lambda _: self._changed.set(),
            admitted=self._admit,
        )

    def _observe(self, instance: Instance, notice: LifecycleEvent) -> None:
        self.notices.append((instance.spec.id, notice))
        self._changed.set()
        if notice in self.deaf_to:
            raise ZeroDivisionError("a defect of who listens")

    def _admit(self, spec: InstanceSpec) -> None:
        self.on_admitted(spec)

    def heard(self, number: int = 0) -> list[str]:
        """Return the events of an instance, without the common prefix."""
        return [notice.removeprefix("instance.") for who, notice in self.notices if who == number]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a change fulfils the condition."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def now() -> Moment:
    return Moment(asyncio.get_running_loop().time(), time())


@asynccontextmanager
async def alive(stage: Stage, spec: InstanceSpec | None = None) -> AsyncIterator[Instance]:
    """Run an instance for the block; afterwards none of its tasks may be left."""
    others = asyncio.all_tasks()
    instance = Instance(spec or spec_of(), stage.context)
    task = asyncio.create_task(instance.run())
    try:
        yield instance
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), f"the instance's own task ended: {task}"
    assert asyncio.all_tasks() == others


@asynccontextmanager
async def fleet_on(stage: Stage) -> AsyncIterator[Fleet]:
    """Run a fleet for the block; afterwards none of its tasks may be left."""
    others = asyncio.all_tasks()
    fleet = Fleet(stage.context, reserved_port=8001)
    try:
        yield fleet
    finally:
        await fleet.release()
    assert asyncio.all_tasks() == others
