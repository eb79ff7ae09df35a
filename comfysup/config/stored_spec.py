"""Checks stored specs by the rules of input, because the files may have been edited."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from comfysup.config import arguments
from comfysup.config import field_values as values
from comfysup.config.instance_fields import MAX_VARIABLES, SpecError, default_name
from comfysup.model.spec import InstanceSpec, Policy


def _arguments(words: tuple[str, ...]) -> None:
    """Check the arguments; the limits allow the default and the own arguments together."""
    most, chars = 2 * arguments.MAX_ARGUMENTS, 2 * arguments.MAX_ARGUMENTS_CHARS
    if len(words) > most or sum(map(len, words)) > chars:
        raise ValueError(f"must be at most {most} arguments of {chars} characters together")
    for word in words:
        arguments.argument(word)


def _env(env: tuple[tuple[str, str], ...]) -> None:
    if len(env) > MAX_VARIABLES:
        raise ValueError(f"must be at most {MAX_VARIABLES} variables")
    for name, value in env:
        values.variable(name)
        values.variable_value(value)


def _gpu(gpu: str | None) -> None:
    if gpu is not None:
        values.gpu(gpu)


Check: TypeAlias = Callable[[Any], object]

ESSENTIAL: Final[Mapping[str, Check]] = MappingProxyType(
    {"id": values.instance_id, "environment": values.environment, "port": values.port}
)
"""The checks of the required fields."""

OTHERS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "extra_args": _arguments,
        "gpu": _gpu,
        "env": _env,
        "description": values.description,
    }
)


def sound_spec(spec: InstanceSpec) -> tuple[InstanceSpec, list[str]]:
    """Return the spec with defaults for its invalid fields, and the names of those fields.

    Raises `SpecError` when the id, environment or port is invalid.
    """
    for name, check in ESSENTIAL.items():
        try:
            check(getattr(spec, name))
        except ValueError as error:
            raise SpecError(name, f"{name} {error}") from error
    wrong: list[str] = []
    sound: dict[str, Any] = {}
    if not _is_good(values.name, spec.name):
        wrong.append("name")
        sound["name"] = default_name(spec.id)
    for each in fields(spec):
        if each.name in OTHERS and not _is_good(OTHERS[each.name], getattr(spec, each.name)):
            wrong.append(each.name)
            sound[each.name] = each.default
    policy, wrong_there = _sound_policy(spec.policy)
    wrong += wrong_there
    return (replace(spec, policy=policy, **sound), wrong) if wrong else (spec, wrong)


def _sound_policy(policy: Policy) -> tuple[Policy, list[str]]:
    counts = {"max_failures", "probe_failures"}
    words = {"restart", "rescue"}
    wrong: dict[str, Any] = {
        each.name: each.default
        for each in fields(policy)
        if each.name not in words
        and not _is_good(
            values.count if each.name in counts else values.seconds, getattr(policy, each.name)
        )
    }
    return replace(policy, **wrong), [f"policy.{name}" for name in wrong]


def _is_good(check: Check, value: object) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True
