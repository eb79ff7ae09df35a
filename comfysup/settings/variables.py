"""Environment variables, read one by one; what is wrong is gathered and told all at once."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

from pydantic import SecretStr, ValidationError

from comfysup.fields import PolicyFields, problems
from comfysup.fields.problems import nearest, problem, shown
from comfysup.supervision.spec import Policy

MAX_TOKEN_CHARS: Final = 4_096
MAX_BYTES: Final = 1 << 40
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3}
_BYTES = re.compile("([0-9]{1,15}) *([kmg]?)i?b?", re.IGNORECASE)
_HOST = re.compile("[A-Za-z0-9.:_%-]{1,253}")
_TOKEN = re.compile("[!-~]+")
_UNIT_OF_SECONDS = re.compile(r"(?<=[0-9]) *s$")
_ELSEWHERE: Final = ("COMFYSUP_MARKER", "COMFYSUP_DEMO_WORKSPACE")

T = TypeVar("T")


class SettingsError(ValueError):
    """Environment variables that cannot be used; `mistakes` has a line for each."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        """Make one text of all mistakes."""
        what = "1 setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join((f"cannot use the environment: {what} wrong", *mistakes)))
        self.mistakes = mistakes


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

    def text(self, name: str) -> str:
        """The variable without spaces around it; empty where it is not set."""
        self._known.add(name)
        return self._environ.get(name, "").strip()

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
        texts = {field: self.text(name) for name, field in names.items()}
        given = {name: without_unit(text) for name, text in texts.items() if text}
        try:
            return PolicyFields.model_validate(given).over(Policy())
        except ValidationError as error:
            self.mistakes += [
                f"COMFYSUP_{str(each.loc[0]).upper()} {each.text}" for each in problems(error)
            ]
            return Policy()

    def token(self, name: str) -> SecretStr | None:
        """The token of the variable `name`, or of the file that `name`_FILE names."""
        in_file = self.text(f"{name}_FILE")
        if not in_file:
            return self.read(name, token, None)
        if self.text(name):
            self.mistakes.append(f"{name} and {name}_FILE are both set: one must go")
            return None
        return self.read(f"{name}_FILE", token_in_file, None)

    def warnings(self) -> tuple[str, ...]:
        """COMFYSUP_ variables that nothing reads and whose name is near to one that is."""
        unread = sorted(
            name
            for name in self._environ
            if name.startswith("COMFYSUP_") and name not in self._known
        )
        known = [name[9:].lower() for name in self._known if name.startswith("COMFYSUP_")]
        near = {name: nearest(name.removeprefix("COMFYSUP_"), known) for name in unread}
        return tuple(
            f"unknown variable {name}: did you mean COMFYSUP_{hint.upper()}?"
            for name, hint in near.items()
            if hint
        )


def without_unit(value: str) -> str:
    """Seconds as the documentation writes them, `600 s`, without their unit."""
    return _UNIT_OF_SECONDS.sub("", value)


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


def token(value: str) -> SecretStr:
    """A token that fits into a header; the text of its refusal does not show it."""
    if _TOKEN.fullmatch(value) and len(value) <= MAX_TOKEN_CHARS:
        return SecretStr(value)
    raise problem(
        "token",
        f"must be 1 to {MAX_TOKEN_CHARS} visible ASCII characters without spaces, is a text of "
        f"{len(value)} characters",
    )


def token_in_file(value: str) -> SecretStr:
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
