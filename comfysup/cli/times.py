"""Times and numbers as people type them: how long, how long ago, or when."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
from typing_extensions import override

from comfysup.model.durations import FORMS, seconds_in

C = TypeVar("C", bound=Callable[..., None])


if TYPE_CHECKING:
    _FloatType = click.ParamType[float]
else:
    _FloatType = click.ParamType  # generic only since click 8.4


class Seconds(_FloatType):
    """A time of at least 0 as people write it, in seconds."""

    name = "seconds"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = seconds_in(str(value))
        if found is None:
            self.fail(f"must be a time of at least 0, such as {FORMS}, is {value!r}", param, ctx)
        return found


class Whole(click.IntRange):
    """An integer within bounds, whose error names both bounds."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number: int = super().convert(value, param, ctx)
        except click.BadParameter:
            allowed = f"from {self.min} to {self.max}"
            if self.max is None:
                allowed = f"of at least {self.min}"
            self.fail(f"must be a whole number {allowed}, is {value!r}", param, ctx)
        return number


def moment_option(name: str, help: str) -> Callable[[C], C]:  # noqa: A002 - as click has it
    """Add an option for a time, as wall-clock seconds; None if omitted."""
    return click.option(name, metavar="TIME", help=help, callback=_parsed)


def _parsed(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    return None if text is None else moment(text, time.time())


def moment(text: str, now: float) -> float:
    """Return the wall-clock seconds that a text means; raises `click.BadParameter`.

    A date without a zone is in local time.
    """
    ago = seconds_in(text)
    if ago is not None and not text.strip()[-1].isdigit():  # a bare number may be meant as a date
        return now - ago
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"must be how long ago (90s, 10m, 2h, 1d) or a date (2026-01-31T12:00:00Z), is {text!r}"
        ) from None
