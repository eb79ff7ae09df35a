"""What each instance of a file has for itself: its id, its name, and its port while enabled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from comfysup.config import field_values as values
from comfysup.config.field_errors import shown
from comfysup.config.instance_fields import default_name, default_port
from comfysup.config.validation import Validation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UniquenessCheck:
    """Who was the first to claim what.

    The raw values are looked at, so that an instance with a mistake elsewhere claims what is good
    of it, and all that is wrong is told at once. Two entries may have one port as long as one of
    them is disabled: that is how people keep two variants.
    """

    checking: Validation
    own_port: int
    base_port: int
    _first: dict[tuple[str, object], int] = field(default_factory=dict)

    def check(self, index: int, raw: dict[str, object]) -> None:
        """Keep a mistake for everything that an earlier entry has already."""
        number = _good(values.instance_id, raw.get("id"))
        name = _good(values.name, raw.get("name"))
        port = _good(values.port, raw.get("port"))
        # What follows from an id that is told already would be the same mistake again.
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
        """Whether nobody had it; what is not known claims nothing."""
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
        except ValueError:  # told when the spec is made
            return None


def _good(check: Callable[[object], T], value: object) -> T | None:
    try:
        return check(value)
    except ValueError:
        return None
