"""Slow checks of a start: its environment and its port, before the fleet accepts the spec."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.caller_requests import STOPPED_WHILE_STARTING
from comfysup.supervision.protocols import Launcher, RefusedError, SupervisionError
from comfysup.supervision.refusals import shutting_down

CHECK_PATIENCE = 2.0
"""Minimum timeout of an environment check, in seconds; a shorter timeout of the caller is
raised."""


class OverriddenError(SupervisionError):
    """A later stop overrode a start during its checks."""


@dataclass(eq=False, slots=True)
class StartCheck:
    """A check of an instance's environment and port; `error` is set if the check was cancelled."""

    spec: InstanceSpec
    task: asyncio.Task[None]
    error: SupervisionError | None = None

    def end(self, error: SupervisionError) -> None:
        """Cancel the check; the start fails with `error`."""
        self.error = error
        self.task.cancel()


class StartChecks:
    """Runs the checks of a start that may take seconds.

    Other requests run during a check, so the caller must check the fleet's rules again afterwards.
    A stop cancels the checks of its instance, because a stop overrides every earlier request.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._checks: set[StartCheck] = set()
        self._stops: Counter[int] = Counter()
        self._stops_of_all = 0

    async def check(self, spec: InstanceSpec, patience: float, *, port: bool) -> None:
        """Raise `RefusedError` unless `Launcher.check` succeeds within `patience` seconds.

        Raises `OverriddenError` when a stop arrives first.
        """
        await self.finish(self.begin(spec, port=port), patience)

    def begin(self, spec: InstanceSpec, *, port: bool) -> StartCheck:
        """Start a check, which stops can cancel from now on; the caller must call `finish`."""
        check = StartCheck(spec, asyncio.create_task(self._launcher.check(spec, port=port)))
        self._checks.add(check)
        return check

    async def finish(self, check: StartCheck, patience: float) -> None:
        """Wait for a check; raises as `check` does."""
        spec = check.spec
        within = max(patience, CHECK_PATIENCE)
        try:
            await asyncio.wait([check.task], timeout=within)
        finally:
            self._checks.discard(check)
            check.task.cancel()
        if check.error:
            raise check.error
        if not check.task.done():
            raise RefusedError(
                "environment_unresponsive",
                f"cannot start instance {spec.label}: environment {spec.environment!r} has not "
                f"answered for {within:g} s",
            )
        check.task.result()

    def cancel(self, numbers: Iterable[int] | None = None) -> None:
        """Cancel the checks of the instances with these ids; None cancels all checks."""
        wanted = None if numbers is None else set(numbers)
        if wanted is None:
            self._stops_of_all += 1
        else:
            self._stops.update(wanted)
        for check in self._checks:
            if wanted is None or check.spec.id in wanted:
                check.end(OverriddenError(STOPPED_WHILE_STARTING))

    def stops(self, number: int) -> int:
        """Return how many stops of this instance have been counted so far."""
        return self._stops_of_all + self._stops[number]

    def close(self) -> None:
        """Cancel all checks because the daemon exits or restarts in place."""
        for check in self._checks:
            check.end(shutting_down(check.spec))
