"""What a container starts by itself: the enabled instances of instances.json, one after another."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import structlog

from comfysup.app.reload.reloader import Reloader
from comfysup.config.instances_file import InstancesFile
from comfysup.model.instances_file import Failure, ReloadOutcome
from comfysup.model.spec import InstanceSpec
from comfysup.supervision.fleet import Fleet
from comfysup.supervision.instance import Instance

log = structlog.get_logger()

NAMED = 20
"""Mistaken entries that the sentence for `troubles` names."""


class Shortfall:
    """What instances.json asks for and the table lacks: wanted, and not ready.

    `report` hears the sentence for `troubles` that says so, and None once nothing is lacking.
    `expected` are the entries that autolaunch starts.
    """

    def __init__(self, path: Path, report: Callable[[Path, str | None], None]) -> None:
        """Ask for nothing yet."""
        self.expected: tuple[InstanceSpec, ...] = ()
        self._path = path
        self._report = report
        self._mistakes = 0
        self._unusable: tuple[str, ...] = ()
        self._awaited: dict[int, InstanceSpec] = {}
        self._refused: dict[int, Failure] = {}

    @property
    def waiting_for(self) -> Sequence[str]:
        """Name each enabled entry that is not in the table, and why."""
        return [
            *(f"{label}: mistaken" for label in self._unusable),
            *(f"{spec.label}: not started yet" for spec in self._awaited.values()),
            *(f"{each.spec.label}: {each.code}" for each in self._refused.values()),
        ]

    def expect(self, file: InstancesFile, applied: Collection[int]) -> None:
        """Want all that is enabled there, but for the ids that were taken on before."""
        for mistake in file.mistakes:
            log.error("instances_file.mistaken", mistake=mistake.summary)
        unreadable = (str(self._path),) if file.mistakes and not file.legible else ()
        self._take(file.mistakes, file.unusable or unreadable, ())
        self._expect(spec for spec in file.specs if spec.id not in applied)

    def expect_back(self, returning: Iterable[InstanceSpec], file: InstancesFile) -> None:
        """Want the instances too that a reload had stopped to start them, when a daemon died.

        Each gets what the file says of it; one that the file does not name is started as it was.
        """
        named = {spec.id: spec for spec in file.specs}
        awaited = {spec.id: named.get(spec.id, spec) for spec in returning}
        self._expect({**awaited, **self._awaited}.values())

    def awaited(self, ref: str) -> InstanceSpec | None:
        """Return the expected entry of that id or name that was not tried yet."""
        found = (spec for spec in self._awaited.values() if ref in (str(spec.id), spec.name))
        return next(found, None)

    @property
    def pending(self) -> Sequence[InstanceSpec]:
        """The expected entries that were not tried yet."""
        return list(self._awaited.values())

    def _expect(self, specs: Iterable[InstanceSpec]) -> None:
        self.expected = tuple(specs)
        self._awaited = {spec.id: spec for spec in self.expected}

    def tried(self, spec: InstanceSpec, failure: Failure | None) -> None:
        """Note how the start of an expected entry went."""
        self._awaited.pop(spec.id, None)
        if failure and failure.refused:
            self._refused[spec.id] = failure
            self._tell()

    def follow(self, outcome: ReloadOutcome) -> None:
        """Want what a reload has read instead."""
        self._take(outcome.mistakes, outcome.unusable, outcome.failed)

    def entered(self, number: int) -> None:
        """Note that an instance of that id is in the table, whoever asked for it."""
        self._awaited.pop(number, None)
        if self._refused.pop(number, None):
            self._tell()

    def _take(
        self, mistakes: Collection[object], unusable: tuple[str, ...], failed: Sequence[Failure]
    ) -> None:
        self._mistakes = len(mistakes)
        self._unusable = unusable
        self._awaited = {}
        self._refused = {each.spec.id: each for each in failed if each.refused}
        self._tell()

    def _tell(self) -> None:
        lacking = [failure.message for failure in self._refused.values()]
        if self._mistakes:
            plural = "s" if self._mistakes > 1 else ""
            lacking = [*self._unusable[:NAMED], *lacking]
            lacking.insert(0, f"{self._mistakes} mistake{plural}, see `comfysup config check`")
        sentence = f"did not start all of {self._path}: {'; '.join(lacking)}" if lacking else None
        self._report(self._path, sentence)


def pass_over(ref: str, shortfall: Shortfall, reloader: Reloader, fleet: Fleet) -> Instance | None:
    """Enter an expected entry as a stopped instance, so that autolaunch does not start it.

    None where no entry of that id or name is left to start. Raises `RefusedError` where its name or
    port is another instance's; it is not started then either.
    """
    spec = shortfall.awaited(ref)
    if spec is None:
        return None
    reloader.take_on(spec)
    shortfall.entered(spec.id)
    return fleet.hold_back(spec)


async def autolaunch(reloader: Reloader, file: InstancesFile, shortfall: Shortfall) -> None:
    """Start every instance that is expected, `startup_delay` apart.

    A reload meanwhile starts what is left by itself, from the file as it is then. What an earlier
    daemon of this life of the container has taken on stays as its callers wanted it since.
    """
    for position, spec in enumerate(shortfall.expected):
        if position:
            await asyncio.sleep(file.startup_delay)
        try:
            failure = await reloader.start(spec)
        except Exception:  # one entry's: the others are started, and this one stays awaited
            log.exception("autolaunch.broke", instance=spec.id)
            continue
        if failure:
            log.error("autolaunch.failed", instance=spec.id, error=failure.message)
        shortfall.tried(spec, failure)
