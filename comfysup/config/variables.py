"""Environment variables, read one by one; what is wrong is gathered and told all at once."""

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
    """A token by its SHA-256: nothing that is shown or written down can be used in its place."""

    digest: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(_digest(text))

    def matches(self, given: str) -> bool:
        """Compare in constant time; a header may hold bytes that are no UTF-8."""
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
"""What keeps strangers out: ignored, they would let everybody in."""

_OF_A_SERVICE = re.compile(
    r"COMFYSUP(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_[0-9]+_[A-Z]+(_[A-Z]+)?)"
)
"""How Kubernetes names the variables of a Service called comfysup, or comfysup-something.

Those that hold an address (`COMFYSUP_PORT=tcp://…`) are known by that.
"""

T = TypeVar("T")
P = TypeVar("P")


class SettingsError(ValueError, Generic[P]):
    """Environment variables that cannot be used; `mistakes` has a line for each.

    `partial` are the settings with the default for each that is wrong: of use only where
    something else decides.
    """

    def __init__(self, mistakes: tuple[str, ...], partial: P) -> None:
        """Make one text of all mistakes."""
        what = "1 setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join((f"cannot use the environment: {what} wrong", *mistakes)))
        self.mistakes = mistakes
        self.partial = partial


class Variables:
    """The environment while it is read. A variable that is empty counts as not set.

    What is wrong is kept in `mistakes`, and the default read in its place, so that one look
    finds everything.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read from `environ`, which is not changed."""
        self._environ = environ
        self._known = set(_ELSEWHERE)
        self.mistakes: list[str] = []
        self._ignored: list[str] = []

    def text(self, name: str) -> str:
        """The variable without spaces around it; empty where it is not set, or not meant for us."""
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
        """Note something that is set and does not count."""
        self._ignored.append(warning)

    def arguments(self, name: str) -> tuple[str, ...]:
        """The arguments of the variable `name`, less those that comfysup gives itself."""

        def without_own(text: str) -> tuple[str, ...]:
            words = arguments.split(text)
            rest = arguments.without_own_options([str(word) for word in words])
            if len(rest) < len(words):
                self.ignore(f"{name}: --port and --listen are dropped, since comfysup sets them")
            return arguments.parse(rest)

        return self.read(name, without_own, ())

    def read(self, name: str, check: Callable[[str], T], default: T) -> T:
        """What `check` makes of the variable; it raises ValueError with the reason."""
        text = self.text(name)
        if not text:
            return default
        try:
            return check(text)
        except ValueError as error:
            self.mistakes.append(f"{name} {error}")
            return default

    def policy(self) -> Policy:
        """The policy variables: COMFYSUP_ and the name of the field, but for the words."""
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
        """The token of the variable `name`, or of the file that `name`_FILE names."""
        in_file = self.text(f"{name}_FILE")
        if not in_file:
            return self.read(name, token, None)
        if self.text(name):
            self.mistakes.append(f"{name} and {name}_FILE are both set: remove one")
            return None
        return self.read(f"{name}_FILE", token_in_file, None)

    def warnings(self) -> tuple[str, ...]:
        """What is ignored, and COMFYSUP_ variables that nothing reads, with what may be meant."""
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
    """A time above 0 as `90`, `90 s`, `1.5m`, `2h` or `1d`, in seconds."""
    try:
        return values.seconds(seconds_in(value))
    except ValueError:
        raise problem(
            "seconds", f"must be a time above 0, at most a week, such as {FORMS}, is {shown(value)}"
        ) from None


def size(value: str) -> int:
    """Bytes, as `52428800`, `50 MB` or `50MiB`; a kB is 1,024 of them."""
    written = _BYTES.fullmatch(value)
    if written:
        number = int(written[1]) << 10 * _POWERS[written[2].lower()]
        if 1 <= number <= MAX_BYTES:
            return number
    raise problem("size", f'must be a size from 1 to 1024 GB such as "50 MB", is {shown(value)}')


def host(value: str) -> str:
    """An address or a name to listen on."""
    with suppress(UnicodeError):  # a label that is empty, or longer than 63 characters
        value.encode("idna")
        if _HOST.fullmatch(value):
            return value
    raise problem("host", f"must be an address to listen on, is {shown(value)}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address; of a name other than localhost: no."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def path(value: str) -> Path:
    """An absolute path; the daemon's own directory may change, or be nobody's business."""
    if value.startswith("/"):
        return Path(value)
    raise problem("path", f"must be an absolute path, is {shown(value)}")


def token(value: str) -> Token:
    """A token that fits into a header; the text of its refusal does not show it."""
    if _TOKEN.fullmatch(value) and len(value) <= MAX_TOKEN_CHARS:
        return Token.of(value)
    raise problem(
        "token",
        f"must be 1 to {MAX_TOKEN_CHARS} visible ASCII characters without spaces, is a text of "
        f"{len(value)} characters",
    )


def token_in_file(value: str) -> Token:
    """The token that a file holds, without the end of its line."""
    try:
        with path(value).open(encoding="utf-8", errors="replace") as file:
            content = file.read(2 * MAX_TOKEN_CHARS)
    except OSError as error:
        raise problem("token", f"cannot be read: {value}: {error.strerror}") from None
    try:
        return token(content.strip())
    except ValueError as error:
        raise problem("token", f"names {shown(value)}, whose content {error}") from None
