"""Reads instances.json: the instances to start, and all errors of the file at once.

An error excludes only its own instance. An error in `environment` or `default_extra_args` excludes
the instances that depend on that setting. Any other error in `global_settings` excludes only that
setting.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import PlainValidator

from comfysup.config import field_values as values
from comfysup.config.config_errors import UnreadableError, read_text
from comfysup.config.field_errors import problem, shown
from comfysup.config.instance_fields import (
    Defaults,
    ExtraArgs,
    InstanceFields,
    PolicyFields,
    SpecError,
)
from comfysup.config.jsonc import JsonSyntaxError, Lines, parse
from comfysup.config.settings import Settings
from comfysup.config.validation import UniquenessCheck, Validation
from comfysup.model.instances_file import ConfigError
from comfysup.model.spec import InstanceSpec

TOP_KEYS: Final = ("environment", "instances", "global_settings")


@dataclass(frozen=True, slots=True)
class Entry:
    """A valid instance of the file; `line` is the line on which it begins."""

    spec: InstanceSpec
    enabled: bool
    line: int


@dataclass(frozen=True, slots=True)
class InstancesFile:
    """The content of instances.json; `defaults` are the settings overridden by the file.

    `entries` holds the valid entries in the order of the file, including disabled ones. `mistaken`
    holds the ids of the invalid entries, and None for those without a readable id. `legible` is
    False if there is no list of instances: no file, an unreadable file, or invalid JSON. `unusable`
    holds the labels of the invalid entries that are not disabled. `startup_delay` is the seconds
    between two autolaunched starts.
    """

    defaults: Defaults
    entries: tuple[Entry, ...] = ()
    startup_delay: float = 0.0
    log_directory: Path | None = None
    pid_directory: Path | None = None
    mistakes: tuple[ConfigError, ...] = ()
    mistaken: frozenset[int | None] = frozenset()
    unusable: tuple[str, ...] = ()
    legible: bool = True

    @property
    def specs(self) -> tuple[InstanceSpec, ...]:
        """The specs of the enabled entries."""
        return tuple(entry.spec for entry in self.entries if entry.enabled)

    def find(self, ref: str) -> Entry | None:
        """Return the entry with this id (all digits) or name, enabled or not, or None."""
        by_id = int(ref) if ref.isdecimal() and len(ref) <= len(str(values.MAX_ID)) else None
        found = (each for each in self.entries if ref == each.spec.name or by_id == each.spec.id)
        return next(found, None)


def read_instances_file(path: Path, settings: Settings) -> InstancesFile:
    """Read and check the file; a missing file has no instances and is not `legible`."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        return InstancesFile(settings.defaults, legible=False)
    except UnreadableError as error:
        return InstancesFile(settings.defaults, mistakes=(error.mistake,), legible=False)
    return parse_instances(text, settings)


def parse_instances(text: str, settings: Settings) -> InstancesFile:
    """Return the checked content of a file of instances, with its errors."""
    try:
        document = parse(text)
    except JsonSyntaxError as error:
        mistake = ConfigError("", *Lines(text).position(error.offset), str(error))
        return InstancesFile(settings.defaults, mistakes=(mistake,), legible=False)
    return _Reading(Validation(document, text), settings).file(document.value)


def _directory(value: object) -> Path | None:
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("/") and values.is_passable(value):
        return Path(value)
    raise problem("directory", f"must be an absolute path, is {shown(value)}")


def _delay(value: object) -> float | None:
    return None if value is None else values.seconds(value, zero=True)


class GlobalSettings(PolicyFields):
    """`global_settings`: the settings of all instances of the file."""

    log_directory: Annotated[Path | None, PlainValidator(_directory)] = None
    pid_directory: Annotated[Path | None, PlainValidator(_directory)] = None
    default_extra_args: ExtraArgs = ()
    startup_delay: Annotated[float | None, PlainValidator(_delay)] = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """The state of reading one file."""

    checking: Validation
    settings: Settings

    def file(self, value: object) -> InstancesFile:
        top = self.checking.members((), value)
        if top is None:
            mistakes = self.checking.mistakes
            return InstancesFile(self.settings.defaults, mistakes=mistakes, legible=False)
        self.checking.unknown((), top, TOP_KEYS)
        common = self._common(top.get("global_settings"))
        defaults = self._defaults(top.get("environment"), common)
        good = dict(self._entries(top, defaults))
        entries = tuple(good.values())
        return InstancesFile(
            defaults,
            entries,
            common.startup_delay or 0.0,
            common.log_directory,
            common.pid_directory,
            self.checking.mistakes,
            self._mistaken(top.get("instances"), entries),
            tuple(self._unusable(top.get("instances"), good)),
            legible=isinstance(top.get("instances"), list),
        )

    def _common(self, value: object) -> GlobalSettings:
        """Return the valid global settings; invalid ones get their defaults."""
        place = ("global_settings",)
        if value is None:
            return GlobalSettings()
        if (good := self.checking.model(place, value, GlobalSettings)) is not None:
            return good
        rest = value if isinstance(value, dict) else {}
        kept = {key: each for key, each in rest.items() if self.checking.is_good((*place, key))}
        return GlobalSettings.model_validate(kept)

    def _defaults(self, environment: object, common: GlobalSettings) -> Defaults:
        own = self.settings.defaults
        if environment is not None:
            named = self.checking.value(("environment",), environment, values.environment)
            own = replace(own, environment=named or own.environment)
        return replace(
            own,
            extra_args=own.extra_args + common.default_extra_args,
            policy=common.over(own.policy),
        )

    def _entries(self, top: dict[str, object], defaults: Defaults) -> Iterator[tuple[int, Entry]]:
        """Yield the valid entries with their indexes in the list."""
        raw = top.get("instances")
        if not isinstance(raw, list):
            found = f"is {shown(raw)}" if "instances" in top else "is missing"
            self.checking.mistake(("instances",), f"instances must be a list, {found}")
            return
        claims = UniquenessCheck(self.checking, self.settings.port, defaults.base_port)
        checked = [self._fields(index, value, claims) for index, value in enumerate(raw)]
        for index, fields in enumerate(checked):
            if fields is None:
                continue
            spec = self._spec(index, fields, defaults)
            place = ("instances", index)
            if spec is not None and self._is_good(index, fields):
                yield index, Entry(spec, fields.enabled, self.checking.line(place))

    def _mistaken(self, raw: object, good: tuple[Entry, ...]) -> frozenset[int | None]:
        """Return the ids of the invalid entries; None stands for an unreadable id."""
        ids = [
            self._id(index, value)
            for index, value in enumerate(raw if isinstance(raw, list) else ())
        ]
        return frozenset(ids) - {entry.spec.id for entry in good}

    def _unusable(self, raw: object, good: Container[int]) -> Iterator[str]:
        """Yield the labels of the invalid entries that are not disabled."""
        for index, value in enumerate(raw if isinstance(raw, list) else ()):
            enabled = not isinstance(value, dict) or value.get("enabled") is not False
            if index not in good and enabled:
                number = self._id(index, value)
                yield f"instances[{index}]" + ("" if number is None else f" (id {number})")

    def _id(self, index: int, value: object) -> int | None:
        """Return the id of an entry; None if that is invalid, such as a repeated id."""
        if not isinstance(value, dict) or not self.checking.is_good(("instances", index, "id")):
            return None
        number = value.get("id")
        return number if isinstance(number, int) else None

    def _fields(self, index: int, value: object, claims: UniquenessCheck) -> InstanceFields | None:
        if isinstance(value, dict):
            claims.check(index, value)
        return self.checking.model(("instances", index), value, InstanceFields)

    def _spec(self, index: int, fields: InstanceFields, defaults: Defaults) -> InstanceSpec | None:
        try:
            return fields.to_spec(defaults)
        except SpecError as error:
            self.checking.mistake(("instances", index, error.where), str(error))
            return None

    def _is_good(self, index: int, fields: InstanceFields) -> bool:
        good = self.checking.is_good
        return (
            good(("instances", index))
            and good(("global_settings", "default_extra_args"))
            and (fields.environment is not None or good(("environment",)))
        )
