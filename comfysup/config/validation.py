"""The validation of a parsed file: each error is collected with its place."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from comfysup.config import field_values as values
from comfysup.config.config_errors import written
from comfysup.config.field_errors import problems, quoted, shown, unknown_keys
from comfysup.config.instance_fields import STRICT, default_name, default_port
from comfysup.config.jsonc import Document, Lines
from comfysup.config.jsonc import Path as Place
from comfysup.model.instances_file import ConfigError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Validation:
    """Collects the errors of one document; no method raises for an error."""

    def __init__(self, document: Document, text: str) -> None:
        """Check `document`, which was read from `text`, for repeated keys."""
        self._document = document
        self._lines = Lines(text)
        self._mistakes: list[tuple[int, ConfigError]] = []
        self._wrong: set[Place] = set()
        for each in document.repeated:
            first = self._lines.position(document.keys[each.path])[0]
            what = f"key {quoted(str(each.path[-1]))} stands twice: already on line {first}"
            self._keep(each.path, each.offset, what)

    @property
    def mistakes(self) -> tuple[ConfigError, ...]:
        """All errors so far, in the order of the file."""
        return tuple(mistake for _, mistake in sorted(self._mistakes, key=lambda each: each[0]))

    def line(self, place: Place) -> int:
        return self._lines.position(self._document.values[self._document.nearest(place)])[0]

    def is_good(self, place: Place) -> bool:
        """Return whether no error is at this place, below it, or in an object around it."""
        return place not in self._wrong

    def mistake(self, place: Place, text: str) -> None:
        """Add an error at a value, or at the nearest existing value above it."""
        nearest = self._document.nearest(place)
        self._keep(nearest, self._document.values[nearest], text)
        self._blame(place)

    def unknown(self, place: Place, mapping: Mapping[str, object], known: Collection[str]) -> None:
        """Add an error for each unknown key, with a suggestion."""
        for key, hint in unknown_keys(mapping, known).items():
            what = f"unknown key {quoted(key)}{hint or ': must be one of ' + ', '.join(known)}"
            self._keep((*place, key), self._document.keys[*place, key], what)

    def value(self, place: Place, value: object, check: Callable[[object], T]) -> T | None:
        """Return the result of `check` for one value, or None after adding an error."""
        try:
            return check(value)
        except ValueError as error:
            self.mistake(place, str(error))
            return None

    def members(self, place: Place, value: object) -> dict[str, object] | None:
        """Return the value if it is an object, or None after adding an error."""
        if isinstance(value, dict):
            return value
        self.mistake(place, f"must be an object, is {shown(value)}")
        return None

    def model(self, place: Place, value: object, model: type[M]) -> M | None:
        """Return the value as `model`, or None after adding errors; other keys are errors."""
        mapping = self.members(place, value)
        if mapping is None:
            return None
        self.unknown(place, mapping, model.model_fields)
        try:
            return model.model_validate(mapping, context=STRICT)
        except ValidationError as error:
            for each in problems(error):
                missing = f"field {quoted(str(each.loc[-1]))} is missing"
                text = missing if each.type == "missing" else each.text
                self.mistake((*place, *each.loc), text)
            return None

    def _keep(self, place: Place, offset: int, text: str) -> None:
        line, column = self._lines.position(offset)
        self._mistakes.append((offset, ConfigError(written(place), line, column, text)))
        self._blame(place)

    def _blame(self, place: Place) -> None:
        self._wrong.update(place[:length] for length in range(len(place) + 1))


@dataclass(frozen=True, slots=True)
class UniquenessCheck:
    """Records which entry claimed an id, name or port first.

    The check reads raw values. So an instance with an invalid field still claims its valid fields,
    and all errors are reported at once. Two entries may share a port if one of them is disabled,
    which allows two variants of an instance.
    """

    checking: Validation
    own_port: int
    base_port: int
    _first: dict[tuple[str, object], int] = field(default_factory=dict)

    def check(self, index: int, raw: dict[str, object]) -> None:
        """Add an error for each value that an earlier entry has claimed."""
        number = _good(values.instance_id, raw.get("id"))
        name = _good(values.name, raw.get("name"))
        port = _good(values.port, raw.get("port"))
        # A default derived from a repeated id would repeat the same error.
        if self._claim(index, "id", number) and number is not None:
            name = default_name(number) if raw.get("name") is None else name
            port = self._default_port(number) if raw.get("port") is None else port
        self._claim(index, "name", name)
        if raw.get("enabled") is not False:
            self._claim(index, "port", port)
        if port == self.own_port:
            self.checking.mistake(
                ("instances", index, "port"),
                f"must not be {port}: comfysup itself listens there (COMFYSUP_PORT)",
            )

    def _claim(self, index: int, what: str, value: object) -> bool:
        """Return whether no earlier entry claimed the value; None claims nothing."""
        first = index if value is None else self._first.setdefault((what, value), index)
        if first != index:
            self.checking.mistake(
                ("instances", index, what),
                f"{what} must be unique, is {shown(value)} as that of instances[{first}] "
                f"(line {self.checking.line(('instances', first))})",
            )
        return first == index

    def _default_port(self, number: int) -> int | None:
        try:
            return default_port(number, self.base_port)
        except ValueError:  # reported when the spec is built
            return None


def _good(check: Callable[[object], T], value: object) -> T | None:
    try:
        return check(value)
    except ValueError:
        return None
