"""Starts the enabled instances of instances.json, one after another, when the daemon starts."""

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
"""The number of invalid entries that the message in `troubles` names."""


class Shortfall:
    """The entries of instances.json that should run and are not in the table.

    `report` receives the message for `troubles`, or None once no entry is missing. `expected` holds
    the entries that autolaunch starts.
    """

    def __init__(self, path: Path, report: Callable[[Path, str | None], None]) -> None:
        """Start without expected entries."""
        self.expected: tuple[InstanceSpec, ...] = ()
        self._path = path
        self._report = report
        self._mistakes = 0
        self._unusable: tuple[str, ...] = ()
        self._awaited: dict[int, InstanceSpec] = {}
        self._refused: dict[int, Failure] = {}

    @property
    def waiting_for(self) -> Sequence[str]:
        """One text per enabled entry that is not in the table: its label and the reason."""
        return [
            *(f"{label}: mistaken" for label in self._unusable),
            *(f"{spec.label}: not started yet" for spec in self._awaited.values()),
            *(f"{each.spec.label}: {each.code}" for each in self._refused.values()),
        ]

    def expect(self, file: InstancesFile, applied: Collection[int]) -> None:
        """Expect all enabled entries of the file, except for the ids that were applied before."""
        for mistake in file.mistakes:
            log.error("instances_file.mistaken", mistake=mistake.summary)
        unreadable = (str(self._path),) if file.mistakes and not file.legible else ()
        self._take(file.mistakes, file.unusable or unreadable, ())
        self._expect(spec for spec in file.specs if spec.id not in applied)

    def expect_back(self, returning: Iterable[InstanceSpec], file: InstancesFile) -> None:
        """Also expect the instances that an interrupted reload had stopped in order to start them.

        Each is started with its entry in the file, or with its previous spec if the file has no
        entry for it.
        """
        named = {spec.id: spec for spec in file.specs}
        awaited = {spec.id: named.get(spec.id, spec) for spec in returning}
        self._expect({**awaited, **self._awaited}.values())

    def awaited(self, ref: str) -> InstanceSpec | None:
        """Return the expected entry with that id or name that has not been started yet, or None."""
        found = (spec for spec in self._awaited.values() if ref in (str(spec.id), spec.name))
        return next(found, None)

    @property
    def pending(self) -> Sequence[InstanceSpec]:
        """The expected entries that have not been started yet."""
        return list(self._awaited.values())

    def _expect(self, specs: Iterable[InstanceSpec]) -> None:
        self.expected = tuple(specs)
        self._awaited = {spec.id: spec for spec in self.expected}

    def tried(self, spec: InstanceSpec, failure: Failure | None) -> None:
        """Record the result of starting an expected entry; `failure` is None for a success."""
        self._awaited.pop(spec.id, None)
        if failure and failure.refused:
            self._refused[spec.id] = failure
            self._tell()

    def follow(self, outcome: ReloadOutcome) -> None:
        """Replace the expected entries by those of a reload."""
        self._take(outcome.mistakes, outcome.unusable, outcome.failed)

    def entered(self, number: int) -> None:
        """Record that an instance with that id is in the table, started by any caller."""
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
    """Add an expected entry as a stopped instance, so that autolaunch skips it.

    Returns None if no entry with that id or name is left to start. Raises `RefusedError` when its
    name or port belongs to another instance; autolaunch then skips the entry too.
    """
    spec = shortfall.awaited(ref)
    if spec is None:
        return None
    reloader.take_on(spec)
    shortfall.entered(spec.id)
    return fleet.hold_back(spec)


async def autolaunch(reloader: Reloader, file: InstancesFile, shortfall: Shortfall) -> None:
    """Start all expected instances, `startup_delay` seconds apart.

    If a reload runs meanwhile, it starts the remaining entries from the file as it then is. Entries
    that an earlier daemon applied since the container started keep the state that their callers
    chose.
    """
    for position, spec in enumerate(shortfall.expected):
        if position:
            await asyncio.sleep(file.startup_delay)
        try:
            failure = await reloader.start(spec)
        except Exception:  # the other entries are started; this one stays expected
            log.exception("autolaunch.broke", instance=spec.id)
            continue
        if failure:
            log.error("autolaunch.failed", instance=spec.id, error=failure.message)
        shortfall.tried(spec, failure)
