"""What a container starts by itself: the enabled instances of instances.json, one after another."""

import asyncio

import structlog

from comfysup.reload import Reloader
from comfysup.settings import InstancesFile

log = structlog.get_logger()


async def autolaunch(reloader: Reloader, file: InstancesFile) -> None:
    """Start every good instance of the file, `startup_delay` apart, and say all that is wrong.

    A reload meanwhile starts what is left by itself, from the file as it is then. What an earlier
    daemon of this life of the container has taken on stays as its callers wanted it since.
    """
    for mistake in file.mistakes:
        log.error("instances_file.mistaken", mistake=mistake.summary)
    new = [spec for spec in file.specs if spec.id not in reloader.applied]
    for position, spec in enumerate(new):
        if position:
            await asyncio.sleep(file.startup_delay)
        if failure := await reloader.start(spec):
            log.error("autolaunch.failed", instance=spec.id, error=failure.message)
