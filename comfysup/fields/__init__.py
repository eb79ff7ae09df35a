"""The instance as people write it: what bodies over HTTP and instances.json have in common."""

from comfysup.fields import arguments, values
from comfysup.fields.models import (
    STRICT,
    Defaults,
    EnvironmentName,
    ExtraArgs,
    InstanceFields,
    PolicyFields,
    SpecError,
    default_name,
    default_port,
    unknown_fields,
)
from comfysup.fields.problems import Problem, problems

__all__ = [
    "STRICT",
    "Defaults",
    "EnvironmentName",
    "ExtraArgs",
    "InstanceFields",
    "PolicyFields",
    "Problem",
    "SpecError",
    "arguments",
    "default_name",
    "default_port",
    "problems",
    "unknown_fields",
    "values",
]
