"""Reading an instances file."""

from comfysup.config.instances_file import InstancesFile, parse_instances
from comfysup.config.settings import Settings


def read(text: str, settings: Settings | None = None) -> InstancesFile:
    return parse_instances(text, settings or Settings())


def instances(*lines: str) -> InstancesFile:
    """A file whose instances begin on line 2, one a line."""
    return read('{"instances": [\n' + ",\n".join(lines) + "\n]}")


def error_texts(file: InstancesFile) -> list[str]:
    return [mistake.summary for mistake in file.mistakes]


def ids(file: InstancesFile) -> list[int]:
    return [spec.id for spec in file.specs]
