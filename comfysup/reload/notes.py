"""What a reload could not do although nothing is wrong with it, for people."""

from collections.abc import Iterator

from comfysup.reload.plan import Plan, Step
from comfysup.settings import InstancesFile


def notes(plan: Plan, file: InstancesFile, first: InstancesFile) -> Iterator[str]:
    """Say what waits for mistakes to be mended, or for a restart of the daemon.

    `first` is the file as it was when the daemon began.
    """
    named = {entry.spec.id for entry in file.entries}
    for spec in plan.of(Step.LEAVE):
        if spec.id in plan.applied and spec.id not in named:
            yield f"instance {spec.label} is left as it is until the mistakes are mended"
    if any(mistake.place.startswith("global_settings") for mistake in file.mistakes):
        return
    for name in ("log_directory", "pid_directory"):
        if getattr(file, name) != getattr(first, name):
            yield f"global_settings.{name} has changed: that needs a restart of the daemon"
