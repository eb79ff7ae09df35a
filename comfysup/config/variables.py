"""Reads environment variables, and collects their errors to report them together."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

from pydantic import ValidationError

from comfysup.config import arguments
from comfysup.config import field_values as values
from comfysup.config.field_errors import nearest, problem, problems, shown
from comfysup.config.instance_fields import PolicyFields
from comfysup.model.durations import FORMS, seconds_in
from comfysup.model.spec import Policy


@dataclass(frozen=True, slots=True)
class Token:
    """A token, stored as its SHA-256, so that no output reveals a usable token."""

    digest: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(_digest(text))

    def matches(self, given: str) -> bool:
        """Compare in constant time; `given` may contain bytes that are not UTF-8."""
        return compare_digest(_digest(given), self.digest)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


MAX_TOKEN_CHARS: Final = 4_096
MAX_BYTES: Final = 1 << 40
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3}
_BYTES = re.compile("([0-9]{1,15}) *([kmg]?)i?b?", re.IGNORECASE)
_HOST = re.compile("[A-Za-z0-9.:_%-]{1,253}")
_TOKEN = re.compile("[!-~]+")
_ELSEWHERE: Final = (
    "COMFYSUP_MARKER",
    "COMFYSUP_DEMO_WORKSPACE",
    "COMFYSUP_HANDOVER",
    "COMFYSUP_REHEARSAL",
)
_GUARDS: Final = frozenset({"COMFYSUP_TOKEN", "COMFYSUP_READ_TOKEN", "COMFYSUP_ALLOWED_HOSTS"})
"""The access controls, which must never be ignored: that would allow any caller."""

_OF_A_SERVICE = re.compile(
    r"COMFYSUP(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_[0-9]+_[A-Z]+(_[A-Z]+)?)"
)
"""Matches the variables that Kubernetes sets for a Service called comfysup or comfysup-something.

Variables with an address (`COMFYSUP_PORT=tcp://…`) are recognised by their value.
"""

T = TypeVar("T")
P = TypeVar("P")


class SettingsError(ValueError, Generic[P]):
    """Environment variables that cannot be used; `mistakes` has a line for each.

    `partial` holds the settings with defaults for the invalid ones. It is only for callers that do
    not serve with it.
    """

    def __init__(self, mistakes: tuple[str, ...], partial: P) -> None:
        """Join all errors to one text."""
        what = "1 setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join((f"cannot use the environment: {what} wrong", *mistakes)))
        self.mistakes = mistakes
        self.partial = partial


class Variables:
    """The environment during reading. An empty variable counts as not set.

    Errors are added to `mistakes`, and the default is returned for an invalid variable. So one
    reading finds all errors.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read from `environ`, which is not changed."""
        self._environ = environ
        self._known = set(_ELSEWHERE)
        self.mistakes: list[str] = []
        self._ignored: list[str] = []

    def text(self, name: str) -> str:
        """Return the variable without surrounding spaces; empty if not a setting."""
        self._known.add(name)
        text = self._environ.get(name, "").strip()
        if "://" in text and name.startswith("COMFYSUP_") and name not in _GUARDS:
            self.ignore(
                f"{name} is ignored: {shown(text)} is set by Kubernetes for a Service; "
                "set enableServiceLinks: false in the Pod to prevent it"
            )
            return ""
        return text

    def ignore(self, warning: str) -> None:
        """Add a warning about a variable that is set and ignored."""
        self._ignored.append(warning)

    def arguments(self, name: str) -> tuple[str, ...]:
        """Return the arguments in the variable `name`, without those that comfysup sets."""

        def without_own(text: str) -> tuple[str, ...]:
            words = arguments.split(text)
            rest = arguments.without_own_options([str(word) for word in words])
            if len(rest) < len(words):
                self.ignore(f"{name}: --port and --listen are dropped, since comfysup sets them")
            return arguments.parse(rest)

        return self.read(name, without_own, ())

    def read(self, name: str, check: Callable[[str], T], default: T) -> T:
        """Return the result of `check` for the variable; its ValueError becomes an error."""
        text = self.text(name)
        if not text:
            return default
        try:
            return check(text)
        except ValueError as error:
            self.mistakes.append(f"{name} {error}")
            return default

    def policy(self) -> Policy:
        """Return the policy from COMFYSUP_<FIELD>; `restart` and `rescue` have no variable."""
        names = {f"COMFYSUP_{name.upper()}": name for name in PolicyFields.model_fields}
        del names["COMFYSUP_RESTART"], names["COMFYSUP_RESCUE"]
        default, given = Policy(), dict[str, object]()
        for name, member in names.items():
            if isinstance(getattr(default, member), float):
                given[member] = self.read(name, seconds, None)
            else:
                given[member] = self.text(name) or None
        try:
            return PolicyFields.model_validate(given).over(default)
        except ValidationError as error:
            self.mistakes += [
                f"COMFYSUP_{str(each.loc[0]).upper()} {each.text}" for each in problems(error)
            ]
            return default

    def token(self, name: str) -> Token | None:
        """Return the token in the variable `name`, or in the file that `name`_FILE names."""
        in_file = self.text(f"{name}_FILE")
        if not in_file:
            return self.read(name, token, None)
        if self.text(name):
            self.mistakes.append(f"{name} and {name}_FILE are both set: remove one")
            return None
        return self.read(f"{name}_FILE", token_in_file, None)

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about ignored and unknown COMFYSUP_ variables, with suggestions."""
        unread = sorted(
            name
            for name, text in self._environ.items()
            if name.startswith("COMFYSUP_")
            and name not in self._known
            and not (_OF_A_SERVICE.fullmatch(name) or "://" in text)
        )
        known = [name[9:].lower() for name in self._known if name.startswith("COMFYSUP_")]
        near = {name: nearest(name.removeprefix("COMFYSUP_"), known) for name in unread}
        return tuple(self._ignored) + tuple(
            f"unknown variable {name}: did you mean COMFYSUP_{hint.upper()}?"
            if hint
            else f"unknown variable {name}: no setting has that name"
            for name, hint in near.items()
        )


def seconds(value: str) -> float:
    """Return the seconds of a time above 0, such as `90`, `90 s`, `1.5m`, `2h` or `1d`."""
    try:
        return values.seconds(seconds_in(value))
    except ValueError:
        raise problem(
            "seconds", f"must be a time above 0, at most a week, such as {FORMS}, is {shown(value)}"
        ) from None


def size(value: str) -> int:
    """Return the bytes of a size such as `52428800`, `50 MB` or `50MiB`; a kB is 1,024 bytes."""
    written = _BYTES.fullmatch(value)
    if written:
        number = int(written[1]) << 10 * _POWERS[written[2].lower()]
        if 1 <= number <= MAX_BYTES:
            return number
    raise problem("size", f'must be a size from 1 to 1024 GB such as "50 MB", is {shown(value)}')


def host(value: str) -> str:
    """Return an address or a name to listen on."""
    with suppress(UnicodeError):  # a label is empty or longer than 63 characters
        value.encode("idna")
        if _HOST.fullmatch(value):
            return value
    raise problem("host", f"must be an address to listen on, is {shown(value)}")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address; False for names but localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def path(value: str) -> Path:
    """Return an absolute path; relative ones are refused, because the directory may change."""
    if value.startswith("/"):
        return Path(value)
    raise problem("path", f"must be an absolute path, is {shown(value)}")


def token(value: str) -> Token:
    """Return a token that is valid in a header; the error does not show the token."""
    if _TOKEN.fullmatch(value) and len(value) <= MAX_TOKEN_CHARS:
        return Token.of(value)
    raise problem(
        "token",
        f"must be 1 to {MAX_TOKEN_CHARS} visible ASCII characters without spaces, is a text of "
        f"{len(value)} characters",
    )


def token_in_file(value: str) -> Token:
    """Return the token in a file, without the line end. A pipe without data is an error."""
    try:
        content = _read_at_once(path(value), 2 * MAX_TOKEN_CHARS)
    except OSError as error:
        raise problem("token", f"cannot be read: {value}: {error.strerror}") from None
    try:
        return token(content.decode("utf-8", "replace").strip())
    except ValueError as error:
        raise problem("token", f"names {shown(value)}, whose content {error}") from None


def _read_at_once(file: Path, count: int) -> bytes:
    """Return at most `count` bytes, without waiting for a program to write to a pipe."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, count)
    finally:
        os.close(descriptor)
