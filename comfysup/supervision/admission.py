"""The looks at what may not answer, before a start is admitted to the table."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.protocols import Launcher, RefusedError, SupervisionError

LOOK_PATIENCE = 2.0
"""Seconds for a look at an environment also where the caller would wait for less."""


STOPPED_WHILE_STARTING = "stopped while starting"


class OverriddenError(SupervisionError):
    """A start that a later stop has overridden before it was admitted."""


@dataclass(eq=False, slots=True)
class Look:
    """A look at what an instance needs to be started; `error` says why it was ended early."""

    spec: InstanceSpec
    task: asyncio.Task[None]
    error: SupervisionError | None = None

    def end(self, error: SupervisionError) -> None:
        """End the look: the start fails with that error."""
        self.error = error
        self.task.cancel()


class Admission:
    """Looks at what a start needs beside the table.

    Other callers have their turn meanwhile, so that the rules of the table must be checked again
    after a look. A stop calls it off: a stop overrides all that was asked before.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._looks: set[Look] = set()
        self._stops: Counter[int] = Counter()
        self._stops_of_all = 0

    async def look(self, spec: InstanceSpec, patience: float, *, port: bool) -> None:
        """Raise `RefusedError` unless `Launcher.check` is content within `patience` seconds.

        Raises `OverriddenError` where a stop comes first.
        """
        await self.finish(self.begin(spec, port=port), patience)

    def begin(self, spec: InstanceSpec, *, port: bool) -> Look:
        """Begin a look, which a stop calls off from this moment on; `finish` must follow."""
        look = Look(spec, asyncio.create_task(self._launcher.check(spec, port=port)))
        self._looks.add(look)
        return look

    async def finish(self, look: Look, patience: float) -> None:
        """Wait for the end of a look; raises as `look` does."""
        spec = look.spec
        within = max(patience, LOOK_PATIENCE)
        try:
            await asyncio.wait([look.task], timeout=within)
        finally:
            self._looks.discard(look)
            look.task.cancel()
        if look.error:
            raise look.error
        if not look.task.done():
            raise RefusedError(
                "environment_unresponsive",
                f"cannot start instance {spec.label}: environment {spec.environment!r} has not "
                f"answered for {within:g} s",
            )
        look.task.result()

    def call_off(self, numbers: Iterable[int] | None = None) -> None:
        """End the looks at instances that are stopped; None: all of them."""
        wanted = None if numbers is None else set(numbers)
        if wanted is None:
            self._stops_of_all += 1
        else:
            self._stops.update(wanted)
        for look in self._looks:
            if wanted is None or look.spec.id in wanted:
                look.end(OverriddenError(STOPPED_WHILE_STARTING))

    def stops(self, number: int) -> int:
        """Return how many stops have called off what was asked before of that instance."""
        return self._stops_of_all + self._stops[number]

    def close(self) -> None:
        """End all looks: the daemon ends or starts anew."""
        for look in self._looks:
            look.end(shutting_down(look.spec))


def shutting_down(spec: InstanceSpec) -> RefusedError:
    """Return why nothing is started any more."""
    return RefusedError(
        "shutting_down", f"cannot start instance {spec.label}: comfysup is shutting down"
    )


def conflict(present: InstanceSpec, spec: InstanceSpec, verb: str) -> RefusedError:
    """Return the refusal of a spec whose essence differs from that of a running process."""
    names = ("environment", "port", "extra_args", "gpu", "env")
    what = ", ".join(name for name in names if getattr(present, name) != getattr(spec, name))
    return RefusedError(
        "spec_conflict",
        f"cannot {verb} instance {spec.label}: it runs with another {what}; stop it first",
    )


def name_taken(spec: InstanceSpec, owner: InstanceSpec, verb: str = "start") -> RefusedError:
    """Return the refusal of a spec that has the name of another instance."""
    return RefusedError(
        "name_taken",
        f"cannot {verb} instance {spec.label}: the name belongs to instance {owner.id}",
    )


def port_taken(spec: InstanceSpec, owner: str) -> RefusedError:
    """Return the refusal of a spec whose port is another's, who is named `owner`."""
    return RefusedError(
        "port_taken",
        f"cannot start instance {spec.label}: port {spec.port} belongs to {owner}",
    )
