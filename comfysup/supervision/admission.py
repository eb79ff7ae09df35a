"""Admission of a start: slow checks, made before the fleet takes the spec."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.caller_requests import STOPPED_WHILE_STARTING
from comfysup.supervision.protocols import Launcher, RefusedError, SupervisionError

LOOK_PATIENCE = 2.0
"""Minimum timeout of an environment check, in seconds; a shorter timeout of the caller is
raised."""


class OverriddenError(SupervisionError):
    """A later stop overrode a start before the start was admitted."""


@dataclass(eq=False, slots=True)
class Look:
    """A check of an instance's environment and port; `error` is set if the check was cancelled."""

    spec: InstanceSpec
    task: asyncio.Task[None]
    error: SupervisionError | None = None

    def end(self, error: SupervisionError) -> None:
        """Cancel the check; the start fails with `error`."""
        self.error = error
        self.task.cancel()


class Admission:
    """Runs the checks of a start that may take seconds.

    Other requests run during a check, so the caller must check the fleet's rules again afterwards.
    A stop cancels the checks of its instance, because a stop overrides every earlier request.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._looks: set[Look] = set()
        self._stops: Counter[int] = Counter()
        self._stops_of_all = 0

    async def look(self, spec: InstanceSpec, patience: float, *, port: bool) -> None:
        """Raise `RefusedError` unless `Launcher.check` succeeds within `patience` seconds.

        Raises `OverriddenError` when a stop arrives first.
        """
        await self.finish(self.begin(spec, port=port), patience)

    def begin(self, spec: InstanceSpec, *, port: bool) -> Look:
        """Start a check, which stops can cancel from now on; the caller must call `finish`."""
        look = Look(spec, asyncio.create_task(self._launcher.check(spec, port=port)))
        self._looks.add(look)
        return look

    async def finish(self, look: Look, patience: float) -> None:
        """Wait for a check; raises as `look` does."""
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
        """Cancel the checks of the instances with these ids; None cancels all checks."""
        wanted = None if numbers is None else set(numbers)
        if wanted is None:
            self._stops_of_all += 1
        else:
            self._stops.update(wanted)
        for look in self._looks:
            if wanted is None or look.spec.id in wanted:
                look.end(OverriddenError(STOPPED_WHILE_STARTING))

    def stops(self, number: int) -> int:
        """Return how many stops of this instance have been counted so far."""
        return self._stops_of_all + self._stops[number]

    def close(self) -> None:
        """Cancel all checks because the daemon exits or restarts in place."""
        for look in self._looks:
            look.end(shutting_down(look.spec))


def shutting_down(spec: InstanceSpec) -> RefusedError:
    """Return the error for a start that arrives during shutdown."""
    return RefusedError(
        "shutting_down", f"cannot start instance {spec.label}: comfysup is shutting down"
    )


def conflict(present: InstanceSpec, spec: InstanceSpec, verb: str) -> RefusedError:
    """Return the error for a spec whose essence differs from that of a running process."""
    names = ("environment", "port", "extra_args", "gpu", "env")
    what = ", ".join(name for name in names if getattr(present, name) != getattr(spec, name))
    return RefusedError(
        "spec_conflict",
        f"cannot {verb} instance {spec.label}: it runs with another {what}; stop it first",
    )


def name_taken(spec: InstanceSpec, owner: InstanceSpec, verb: str = "start") -> RefusedError:
    """Return the error for a spec whose name belongs to another instance."""
    return RefusedError(
        "name_taken",
        f"cannot {verb} instance {spec.label}: the name belongs to instance {owner.id}",
    )


def port_taken(spec: InstanceSpec, owner: str) -> RefusedError:
    """Return the error for a spec whose port belongs to `owner`."""
    return RefusedError(
        "port_taken",
        f"cannot start instance {spec.label}: port {spec.port} belongs to {owner}",
    )
