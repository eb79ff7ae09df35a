"""Plans of reloads."""

from comfysup.config.instance_fields import Defaults
from comfysup.config.instances_file import Entry, InstancesFile
from comfysup.model.instances_file import ConfigError
from comfysup.model.spec import InstanceSpec


def file_of(
    *wanted: InstanceSpec,
    disabled: tuple[InstanceSpec, ...] = (),
    mistaken: frozenset[int | None] = frozenset(),
) -> InstancesFile:
    entries = [Entry(spec, enabled=True, line=1) for spec in wanted]
    entries += [Entry(spec, enabled=False, line=1) for spec in disabled]
    mistakes = tuple(ConfigError(f"instances[{number}]", 1, 1, "wrong") for number in mistaken)
    return InstancesFile(Defaults(), tuple(entries), mistakes=mistakes, mistaken=mistaken)
