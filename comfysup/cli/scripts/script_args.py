"""Arguments of the scripts: the first word is the action, the rest is passed on unchanged."""

import functools
import sys
from collections.abc import Callable
from typing import Final, NoReturn, ParamSpec, TypeVar

import click

from comfysup.cli import INTERRUPTED
from comfysup.cli.client import ApiError, NotReachableError
from comfysup.cli.errors import FAILED, NOT_REACHABLE, FailedError, with_hint
from comfysup.cli.output import ExitWith

PATIENCE: Final = 25
"""Seconds that a start or a stop waits: callers give up after 30."""

USAGE: Final = 2

P = ParamSpec("P")
C = TypeVar("C", bound=Callable[..., None])

as_it_stands: Final = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
"""Arguments such as --lowvram belong to ComfyUI."""


def words_argument(metavar: str) -> Callable[[C], C]:
    """Accept all words unchanged; `metavar` is their name in the help."""
    return click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar=metavar)


def help_of(summary: str, usage: str) -> str:
    """Return the help of a command: a sentence, and the lines that the script itself shows."""
    blocks = usage.split("\n\n")
    return "\n\n".join([summary, *(f"\b\n{block}" for block in blocks)])


def told(prefix: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a command print its errors as `PREFIX: ERROR - …` on stderr."""

    def telling(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
            except SystemExit as end:
                raise ExitWith(end.code) from None
            except KeyboardInterrupt:
                raise ExitWith(INTERRUPTED) from None
            except (ApiError, FailedError, NotReachableError) as error:
                tell_error(prefix, with_hint(error))
                code = NOT_REACHABLE if isinstance(error, NotReachableError) else FAILED
                raise ExitWith(code) from error
            raise ExitWith(0)

        return run

    return telling


def tell_error(prefix: str, text: str) -> None:
    click.echo(f"{prefix}: ERROR - {text}", err=True)


def refuse(prefix: str, text: str, usage: str) -> NoReturn:
    """Exit with a usage error before any action."""
    tell_error(prefix, text)
    click.echo(usage, err=True)
    sys.exit(USAGE)
