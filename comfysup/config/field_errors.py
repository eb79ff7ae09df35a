"""The error text of an invalid field: the allowed values and the given one, never a secret."""

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from comfysup.model.printable import SHOWN_CHARS

_HUGE = 10**30


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: `loc` is the path of keys and indexes below the checked value.

    `type` is a stable code for programs (`missing` for a missing field).
    """

    loc: tuple[str | int, ...]
    text: str
    type: str


def problem(code: str, text: str) -> PydanticCustomError:
    """Return the error of one field with exactly this text, even if it contains braces."""
    return PydanticCustomError(code, "{text}", {"text": text})


def problems(error: ValidationError) -> list[Problem]:
    """Return all errors of a validation, without the refused values."""
    return [
        Problem(
            tuple(part for part in each["loc"] if part != "[key]"),
            each["msg"],
            each["type"],
        )
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def shown(value: object) -> str:
    """Return a value as JSON, printable and cut to SHOWN_CHARS."""
    match value:
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case int() if abs(value) >= _HUGE:
            return "a huge number"
        case None | bool() | int() | float() | str():
            return _printable(value)
        case _:
            return f"a {type(value).__name__}"


def kind(value: object) -> str:
    """Return the kind of a value, for texts that must not show the value."""
    match value:
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _:
            return shown(value)


def nearest(key: str, known: Collection[str]) -> str | None:
    """Return the known key that was probably meant, or None if none is similar."""
    near = difflib.get_close_matches(key[:SHOWN_CHARS].lower(), known, n=1)
    return near[0] if near else None


def unknown_keys(mapping: Mapping[str, object], known: Collection[str]) -> dict[str, str]:
    """Return each unknown key with a hint: `: did you mean 'gpu'?`, or nothing."""
    hints = {key: nearest(key, known) for key in mapping if key not in known}
    return {key: f": did you mean '{hint}'?" if hint else "" for key, hint in hints.items()}


def quoted(key: str) -> str:
    """Return a key or an argument in single quotes, printable and cut."""
    cut = f"{key[:SHOWN_CHARS]}…" if len(key) > SHOWN_CHARS else key
    return f"'{_escaped(cut)}'"


def _printable(value: str | float | None) -> str:
    # The text beyond the limit is not read: a value may be megabytes long.
    text = json.dumps(
        value[: SHOWN_CHARS + 1] if isinstance(value, str) else value, ensure_ascii=False
    )
    text = _escaped(text)
    if isinstance(value, str) and (len(text) > SHOWN_CHARS + 2 or len(value) > SHOWN_CHARS):
        return f'{text[: SHOWN_CHARS + 1].rstrip()}…"'
    return text


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
