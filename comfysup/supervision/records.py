"""What of an instance outlives the daemon, and its form in JSON.

The form names the class of a state under `is`; a file of another form is refused, never guessed at.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from cattrs import Converter
from cattrs.strategies import configure_tagged_union

from comfysup.supervision.life import Life, Renew, Rest, State, Then
from comfysup.supervision.protocols import ProcessRecord
from comfysup.supervision.spec import InstanceSpec


class RecordError(Exception):
    """Something that is no record; the text says why."""


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """All that the next daemon needs to go on with an instance.

    `launched` is the spec that its present process goes by; `spec` may be newer.
    """

    spec: InstanceSpec
    launched: InstanceSpec
    life: Life
    process: ProcessRecord | None


T = TypeVar("T")


@cache
def _converter() -> Converter:
    """Return the one converter, which takes a while to be made: not before it is needed."""
    converter = Converter(forbid_extra_keys=True)
    for union in (Rest | Renew, Then, State):
        configure_tagged_union(union, converter, tag_name="is")
    return converter


def dump(value: InstanceRecord | InstanceSpec) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return what JSON can say of a record or a spec."""
    return _converter().unstructure(value)


def load(written: object, kind: type[T]) -> T:
    """Return the value of that kind that `dump` made this of; raises `RecordError`."""
    try:
        return _converter().structure(written, kind)
    except Exception as error:
        raise RecordError(f"cannot read a {kind.__name__}: {error!r}") from error
