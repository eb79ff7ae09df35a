"""What a container starts by itself: the enabled instances of instances.json, one after another."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from comfysup.reload import Failure, Reloader
from comfysup.settings import InstancesFile

log = structlog.get_logger()


async def autolaunch(
    reloader: Reloader, file: InstancesFile, report: Callable[[Sequence[Failure]], None]
) -> None:
    """Start every good instance of the file, `startup_delay` apart, and say all that is wrong.

    A reload meanwhile starts what is left by itself, from the file as it is then. What an earlier
    daemon of this life of the container has taken on stays as its callers wanted it since.
    `report` hears of all failures so far, at the beginning too.
    """
    for mistake in file.mistakes:
        log.error("instances_file.mistaken", mistake=mistake.summary)
    failures: list[Failure] = []
    report(failures)
    new = [spec for spec in file.specs if spec.id not in reloader.applied]
    for position, spec in enumerate(new):
        if position:
            await asyncio.sleep(file.startup_delay)
        if failure := await reloader.start(spec):
            log.error("autolaunch.failed", instance=spec.id, error=failure.message)
            failures.append(failure)
            report(failures)


def shortfall(path: Path, mistakes: int, failures: Iterable[Failure]) -> str | None:
    """Return a sentence about what that file asks for and is not in the table; None for nothing."""
    lacking = [failure.message for failure in failures if failure.refused]
    if mistakes:
        plural = "s" if mistakes > 1 else ""
        lacking.insert(0, f"{mistakes} mistake{plural}, see `comfysup config check`")
    return f"did not start all of {path}: {'; '.join(lacking)}" if lacking else None
