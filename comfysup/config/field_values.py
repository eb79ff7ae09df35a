"""The checks of single fields: each returns the valid value, or raises an error.

A check raises ValueError (a PydanticCustomError) that reads "must be …, is …". With `text`, a
number or a flag may also be text, as clients of the old service sent it.
"""

import re
import unicodedata
from typing import Final

from comfysup.config.field_errors import kind, problem, shown
from comfysup.model.spec import Rescue, Restart

MAX_ID: Final = 999_999
MAX_PORT: Final = 65_535
MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 1_000
MAX_SECONDS: Final = 604_800.0
"""A week; a longer time is a typing error."""
MAX_COUNT: Final = 10_000
MAX_GPU: Final = 255
MAX_VARIABLE_CHARS: Final = 128
MAX_VALUE_CHARS: Final = 30_000
"""The kernel takes 131,072 bytes per variable, and a character may have four bytes."""

ENVIRONMENT_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_ENVIRONMENT = re.compile(ENVIRONMENT_PATTERN)
VARIABLE_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_]*$"
_VARIABLE = re.compile(VARIABLE_PATTERN)
_WHOLE = re.compile("[+-]?[0-9]{1,18}")
_DECIMAL = re.compile("[+-]?[0-9]{1,18}([.][0-9]{1,18})?")
_GPUS = re.compile("[0-9]{1,3}( *, *[0-9]{1,3})*")
_GPU_UUID = re.compile("(GPU|MIG)-[0-9A-Za-z-]{1,64}(/[0-9]{1,3}/[0-9]{1,3})?")
MAX_GPUS: Final = 64
_FLAGS = {"true": True, "1": True, "yes": True, "on": True}
_FLAGS |= {"false": False, "0": False, "no": False, "off": False}


def whole(value: object, low: int, high: int, *, text: bool = False) -> int:
    """Return a whole number within the bounds; `true` is refused, and `1.0` without `text`."""
    number = value
    if text and isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        number = int(value)
    elif text and isinstance(value, float) and value.is_integer():
        number = int(value)  # for JSON, as for clients without integers, 1.0 is 1
    if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
        return number
    raise problem("whole", f"must be a whole number from {low} to {high}, is {shown(value)}")


def seconds(value: object, *, text: bool = False, zero: bool = False) -> float:
    """Return a finite number of seconds above 0, or from 0 with `zero`."""
    number = value
    if text and isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        number = float(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        low = number >= 0 if zero else number > 0
        if low and number <= MAX_SECONDS:  # refuses NaN; no int is converted too early
            return float(number)
    allowed = "from 0" if zero else "above 0"
    raise problem(
        "seconds",
        f"must be a number of seconds {allowed}, at most {MAX_SECONDS:.0f}, is {shown(value)}",
    )


def flag(value: object, *, text: bool = False) -> bool:
    """Return true or false; with `text` also from 1, 0, yes, no, on and off."""
    if isinstance(value, bool):
        return value
    written = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text and written in _FLAGS:
        return _FLAGS[written]
    raise problem("flag", f"must be true or false, is {shown(value)}")


def instance_id(value: object, *, text: bool = False) -> int:
    return whole(value, 0, MAX_ID, text=text)


def port(value: object, *, text: bool = False) -> int:
    return whole(value, 1, MAX_PORT, text=text)


def count(value: object, *, text: bool = False) -> int:
    return whole(value, 1, MAX_COUNT, text=text)


def name(value: object) -> str:
    """Return a name that fits into a URL and a table, and is not an id.

    `.` and `..` are refused, because clients change them in a URL.
    """
    if (
        isinstance(value, str)
        and 1 <= len(value) <= MAX_NAME_CHARS
        and value.isprintable()
        and value == value.strip()
        and "/" not in value
        and value not in {".", ".."}
        and not value.isdigit()
    ):
        return value
    raise problem(
        "name",
        f"must be 1 to {MAX_NAME_CHARS} printable characters without '/', not all digits and "
        f"without spaces around it, is {shown(value)}",
    )


def description(value: object) -> str:
    """Return free text; control characters are refused, because they can change a terminal."""
    if isinstance(value, str) and len(value) <= MAX_DESCRIPTION_CHARS:
        controls = (char for char in value if unicodedata.category(char) in {"Cc", "Cs"})
        if all(char in "\n\t" for char in controls):
            return value
    raise problem(
        "description",
        f"must be text of at most {MAX_DESCRIPTION_CHARS} characters without control "
        f"characters, is {shown(value)}",
    )


def environment(value: object) -> str:
    """Return the name of an environment, which becomes part of a path."""
    if isinstance(value, str) and _ENVIRONMENT.fullmatch(value):
        return value
    raise problem(
        "environment",
        "must be 1 to 64 letters (a-z), digits, '.', '_' or '-', beginning with a letter or "
        f"digit, is {shown(value)}",
    )


def gpu(value: object) -> str:
    """Return the GPUs as CUDA_VISIBLE_DEVICES takes them, by number or by uuid, or `auto`.

    A uuid is `GPU-…`, `MIG-…` or, from older drivers, `MIG-GPU-…/1/0`. CUDA also takes a prefix of
    a uuid.
    """
    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if written == "auto":
        return "auto"
    if isinstance(written, str) and _GPUS.fullmatch(written.strip()):
        numbers = [int(number) for number in written.split(",")]
        if max(numbers) <= MAX_GPU and len(set(numbers)) == len(numbers):
            return ",".join(map(str, numbers))
    if isinstance(written, str) and len(written) <= MAX_VALUE_CHARS:
        uuids = [each.strip() for each in written.split(",")]
        if len(set(uuids)) == len(uuids) <= MAX_GPUS and all(map(_GPU_UUID.fullmatch, uuids)):
            return ",".join(uuids)
    raise problem(
        "gpu",
        f'must be a GPU number up to {MAX_GPU}, different ones as in "0,1", uuids such as '
        f'"GPU-…" or "MIG-…", or "auto", is {shown(value)}',
    )


def variable(value: object) -> str:
    """Return the name of an environment variable; names in COMFYSUP_ are refused."""
    if not (
        isinstance(value, str)
        and len(value) <= MAX_VARIABLE_CHARS
        and _VARIABLE.fullmatch(value) is not None
    ):
        raise problem(
            "variable",
            f"must be 1 to {MAX_VARIABLE_CHARS} letters (a-z), digits or '_', not beginning "
            f"with a digit, is {shown(value)}",
        )
    if value.startswith("COMFYSUP_"):
        raise problem("variable", f"cannot set {value}: names in COMFYSUP_ are comfysup's own")
    return value


def variable_value(value: object) -> str:
    """Return the value of an environment variable; it may be a secret and is never shown."""
    if not isinstance(value, str):
        raise problem("variable_value", f"must be text, is {kind(value)}")
    if len(value) > MAX_VALUE_CHARS:
        raise problem(
            "variable_value",
            f"must be at most {MAX_VALUE_CHARS} characters, is {len(value)} long",
        )
    if not is_passable(value):
        raise problem("variable_value", "must not contain NUL or an unpaired surrogate")
    return value


def restart(value: object) -> Restart:
    if isinstance(value, str) and value in set(Restart):
        return Restart(value)
    raise problem("restart", f"must be always, on-failure or never, is {shown(value)}")


def rescue(value: object) -> Rescue:
    if isinstance(value, str) and value in set(Rescue):
        return Rescue(value)
    raise problem("rescue", f"must be all, waiting or none, is {shown(value)}")


def is_passable(value: str) -> bool:
    """Return whether the kernel takes this text: no NUL, and no unpaired surrogate."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
