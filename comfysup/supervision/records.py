"""The persistent record of an instance, and its JSON format.

The format stores the class of a state under `is`, and keeps the names of version 0.1.0
(`WRITTEN_AS`). Unknown fields are ignored, so that a newer version can add one. A new field has a
default, so that older records stay readable. A partly invalid record is salvaged field by field,
and every loss is named. Values are checked for plausibility, because the file may have been edited.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, get_type_hints

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from comfysup.model.spec import InstanceSpec
from comfysup.supervision.life import (
    AfterExit,
    Life,
    Moment,
    Run,
    StartAgain,
    State,
    StayStopped,
    Stopped,
)
from comfysup.supervision.protocols import ProcessRecord

HIGHEST_PID: Final = 1 << 22
"""Pids are lower on every Linux (PID_MAX_LIMIT in linux/threads.h)."""

HIGHEST_COUNT: Final = 999_999_999
"""The highest generation that a marker can name; the other counts stay far below."""

LONGEST_CLOCK: Final = 1e10
"""Seconds: more than 300 years, which no monotonic clock reaches."""

WALL_CLOCK: Final = (-62_135_596_800.0, 253_402_300_799.0)
"""Seconds since 1970 for the years 1 to 9999, which a date can represent."""

LONGEST_TEXT: Final = 1 << 20
"""Characters; log lines are cut far below this length."""

COUNTS: Final = ("generation", "restarts", "failures", "backoffs")


def impossible_fields(life: Life) -> list[str]:
    """Return the names of the fields of `life` with values that no daemon can have written."""
    found = [name for name in COUNTS if not 0 <= getattr(life, name) <= HIGHEST_COUNT]
    if not is_possible(life.state):
        found.append("state")
    end = life.last_exit
    if end is not None and not (_is_wall(end.at) and is_possible(end)):
        found.append("last_exit")
    return found


def is_possible(value: object) -> bool:
    """Return whether a daemon can have written `value` and every value in it."""
    match value:
        case Moment(monotonic, wall):
            return is_possible(monotonic) and _is_wall(wall)
        case Run(pid) if not 0 <= pid < HIGHEST_PID:
            return False
        case int() | float():
            return math.isfinite(value) and abs(value) <= LONGEST_CLOCK
        case str():
            return len(value) <= LONGEST_TEXT
        case tuple():
            return all(map(is_possible, value))
        case _ if is_dataclass(value):
            return all(is_possible(getattr(value, each.name)) for each in fields(value))
        case _:
            return True


def _is_wall(seconds: float) -> bool:
    return WALL_CLOCK[0] <= seconds <= WALL_CLOCK[1]


class RecordError(Exception):
    """The value is not a valid record; the text states the reason."""


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """The state that the next daemon needs to resume an instance.

    `launched` is the spec of the present process; `spec` may be newer. `removing` means that the
    instance is removed after its exit. `returning` means that it is started after its exit.
    """

    spec: InstanceSpec
    launched: InstanceSpec
    life: Life
    process: ProcessRecord | None
    removing: bool = False
    returning: bool = False


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The readable part of a record; `losses` names each field that could not be read.

    Unless `certain`, the state and process are unknown, and the instance counts as stopped.
    """

    record: InstanceRecord
    losses: tuple[str, ...] = ()
    certain: bool = True


T = TypeVar("T")

Sound: TypeAlias = tuple[InstanceSpec, Sequence[str]]
"""A valid spec, and the names of the fields that were invalid."""

NEW = Life()
"""Holds the defaults that replace implausible fields."""

WRITTEN_AS: Final = {
    "StayStopped": "Rest",
    "StartAgain": "Renew",
    "escalation": "ladder",
    "stop_stage": "rung",
}
"""Names in the file of classes and fields that have another name in the code."""

UNCERTAIN = frozenset({"life", "life.state", "life.generation", "process"})
"""If one of these fields is lost, nothing is known of the process."""


def as_it_is(spec: InstanceSpec) -> Sound:
    """Accept any spec as valid."""
    return spec, ()


def _written_as(kind: type) -> str:
    return WRITTEN_AS.get(kind.__name__, kind.__name__)


def _renamed(kind: type) -> dict[str, Any]:
    """Return the fields of a dataclass that have another name in the file."""
    return {
        each.name: override(rename=WRITTEN_AS[each.name])
        for each in fields(kind)
        if each.name in WRITTEN_AS
    }


@cache
def _converter() -> Converter:
    """Return the one converter; creating it takes time, so it is created on first use."""
    converter = Converter()

    def from_object(kind: type[T]) -> Callable[[object, type[T]], T]:
        structure = make_dict_structure_fn(kind, converter, **_renamed(kind))

        def from_mapping(written: object, _kind: type[T]) -> T:
            if isinstance(written, Mapping):
                return structure(written, kind)
            raise TypeError("not an object")  # a list would pass as an object without fields

        return from_mapping

    def to_object(kind: type[T]) -> Callable[[T], dict[str, Any]]:
        return make_dict_unstructure_fn(kind, converter, **_renamed(kind))

    converter.register_structure_hook_factory(is_dataclass, from_object)
    converter.register_unstructure_hook_factory(is_dataclass, to_object)
    for union in (StayStopped | StartAgain, AfterExit, State):
        configure_tagged_union(union, converter, tag_generator=_written_as, tag_name="is")
    return converter


def dump(value: InstanceRecord | InstanceSpec) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value of a record or spec."""
    return _converter().unstructure(value)


def load(written: object, kind: type[T]) -> T:
    """Return the value of type `kind` from its JSON; raises `RecordError` when it is invalid."""
    try:
        return _converter().structure(written, kind)
    except Exception as error:
        raise RecordError(f"cannot read a {getattr(kind, '__name__', kind)}: {error!r}") from error


def salvage(written: object, sound: Callable[[InstanceSpec], Sound] = as_it_is) -> Salvaged:
    """Return the readable part of a record.

    `sound` returns a valid spec for a stored one. Raises `RecordError` when the id, environment or
    port of the instance cannot be read.
    """
    losses: list[str] = []
    try:
        record = load(written, InstanceRecord)
    except RecordError:
        record = _salvage_members(written, losses)
    record = _with_sound_specs(record, sound, losses)
    if not _is_possible(record.process, record.life):
        losses.append("process")
    life = record.life
    for name in impossible_fields(life):
        losses.append(f"life.{name}")
        life = replace(life, **{name: getattr(NEW, name)})
    record = replace(record, life=life)
    if UNCERTAIN.isdisjoint(losses):
        return Salvaged(record, tuple(losses))
    stopped = replace(record, life=replace(life, state=Stopped()), process=None)
    return Salvaged(stopped, tuple(losses), certain=False)


def _salvage_members(written: object, losses: list[str]) -> InstanceRecord:
    """Read each member of a record field by field; raises `RecordError` without a readable spec."""
    members = written if isinstance(written, Mapping) else {}
    spec = _salvage_fields(members.get("spec"), InstanceSpec, "spec", losses)
    try:
        launched = load(members.get("launched"), InstanceSpec)
    except RecordError:
        losses.append("launched")
        launched = spec
    try:
        life = _salvage_fields(members.get("life"), Life, "life", losses)
    except RecordError:
        losses.append("life")
        life = Life()
    removing, returning = (members.get(name) is True for name in ("removing", "returning"))
    process = _salvage_process(members, losses)
    return InstanceRecord(spec, launched, life, process, removing, returning)


def _with_sound_specs(
    record: InstanceRecord, sound: Callable[[InstanceSpec], Sound], losses: list[str]
) -> InstanceRecord:
    """Return the record with valid specs; raises `RecordError` when `spec` cannot be made valid."""
    spec, wrong = sound(record.spec)
    losses += [f"spec.{name}" for name in wrong]
    if record.launched == record.spec:
        return replace(record, spec=spec, launched=spec)
    try:
        launched, wrong = sound(record.launched)
    except RecordError:
        launched, wrong = spec, [""]
    if launched.id != spec.id:
        launched, wrong = spec, [""]
    losses += [f"launched.{name}".removesuffix(".") for name in wrong]
    return replace(record, spec=spec, launched=launched)


def _salvage_process(members: Mapping[str, object], losses: list[str]) -> ProcessRecord | None:
    try:
        return load(members["process"], ProcessRecord | None)  # type: ignore[arg-type]
    except (KeyError, RecordError):
        losses.append("process")
        return None


def _is_possible(process: ProcessRecord | None, life: Life) -> bool:
    """Return whether the process has a valid pid, which matches the pid of the life.

    To the kernel, a pid of 0 or less means other processes.
    """
    if process is None:
        return True
    if life.run is not None and life.run.pid != process.pid:
        return False
    return 0 < process.pid < HIGHEST_PID and is_possible(process)


def _salvage_fields(written: object, kind: type[T], place: str, losses: list[str]) -> T:
    """Read a dataclass field by field; an unreadable field gets its default.

    Raises `RecordError` when that field has no default. `place` is the prefix in `losses`.
    """
    if not isinstance(written, Mapping):
        raise RecordError(f"cannot read {place}: not an object")
    kinds = get_type_hints(kind)
    read: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # it is a dataclass
        if each.name not in written:
            continue
        here = f"{place}.{each.name}"
        try:
            read[each.name] = load(written[each.name], kinds[each.name])
        except RecordError:
            if is_dataclass(kinds[each.name]) and isinstance(written[each.name], Mapping):
                read[each.name] = _salvage_fields(
                    written[each.name], kinds[each.name], here, losses
                )
                continue
            if each.default is MISSING and each.default_factory is MISSING:
                raise RecordError(f"cannot read {here}") from None
            losses.append(here)
    try:
        return kind(**read)
    except TypeError as error:
        raise RecordError(f"cannot read {place}: {error}") from error
