"""instances.json: the instances to be started, and all mistakes that the file has, in one go.

A mistake costs its own instance and no other. One in `environment` or `default_extra_args` costs
those that would have been started differently without it; one elsewhere in `global_settings` costs
nothing but that setting.
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
    """A good instance of the file; `line` is where it begins."""

    spec: InstanceSpec
    enabled: bool
    line: int


@dataclass(frozen=True, slots=True)
class InstancesFile:
    """What instances.json says. `defaults` are the settings' own with the file's over them.

    `entries` are the good ones, disabled ones too, as they stand in the file. `mistaken` has the
    ids of the others; None stands there for those that do not tell theirs. `legible` is False where
    there is no list of instances to look at: no file, one that cannot be read, or no JSON.
    `unusable` are labels of the others too, without those that are disabled on purpose.
    `startup_delay` is seconds between two autolaunched starts.
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
        """The instances to be started."""
        return tuple(entry.spec for entry in self.entries if entry.enabled)

    def find(self, ref: str) -> Entry | None:
        """The entry with this id (all digits) or this name, enabled or not."""
        by_id = int(ref) if ref.isdecimal() and len(ref) <= len(str(values.MAX_ID)) else None
        found = (each for each in self.entries if ref == each.spec.name or by_id == each.spec.id)
        return next(found, None)


def read_instances_file(path: Path, settings: Settings) -> InstancesFile:
    """Read the file once and check all of it; one that does not exist has no instances."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        return InstancesFile(settings.defaults, legible=False)
    except UnreadableError as error:
        return InstancesFile(settings.defaults, mistakes=(error.mistake,), legible=False)
    return parse_instances(text, settings)


def parse_instances(text: str, settings: Settings) -> InstancesFile:
    """Check the text of a file of instances."""
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
    """`global_settings`: what holds for every instance of the file."""

    log_directory: Annotated[Path | None, PlainValidator(_directory)] = None
    pid_directory: Annotated[Path | None, PlainValidator(_directory)] = None
    default_extra_args: ExtraArgs = ()
    startup_delay: Annotated[float | None, PlainValidator(_delay)] = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One file while it is read."""

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
        """The global settings, as far as they are good."""
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
        """Yield the good entries with their places in the list."""
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
        """The ids of what is in the list and not good, each as far as it can be told."""
        ids = [
            self._id(index, value)
            for index, value in enumerate(raw if isinstance(raw, list) else ())
        ]
        return frozenset(ids) - {entry.spec.id for entry in good}

    def _unusable(self, raw: object, good: Container[int]) -> Iterator[str]:
        """Name what is in the list, not good, and not disabled."""
        for index, value in enumerate(raw if isinstance(raw, list) else ()):
            enabled = not isinstance(value, dict) or value.get("enabled") is not False
            if index not in good and enabled:
                number = self._id(index, value)
                yield f"instances[{index}]" + ("" if number is None else f" (id {number})")

    def _id(self, index: int, value: object) -> int | None:
        """Its id, unless that is wrong itself, as in a copy that was to get one of its own."""
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
