"""What people set: environment variables, and the file of instances. Each is read in one go."""

from comfysup.settings.environment import Settings
from comfysup.settings.instances_file import (
    Entry,
    InstancesFile,
    read_instances_file,
)
from comfysup.settings.mistakes import Mistake
from comfysup.settings.variables import SettingsError

__all__ = [
    "Entry",
    "InstancesFile",
    "Mistake",
    "Settings",
    "SettingsError",
    "read_instances_file",
]
