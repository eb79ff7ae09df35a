"""How the scripts are called: a word says what to do, what follows it is passed on as it stands."""

import functools
import sys
from collections.abc import Callable
from typing import Final, NoReturn, ParamSpec

import click

from comfysup.cli.client import ApiError, NotReachableError
from comfysup.cli.errors import FAILED, NOT_REACHABLE, FailedError, with_hint

PATIENCE: Final = 25
"""Seconds that a start or a stop waits: callers give up after 30."""

USAGE: Final = 2

P = ParamSpec("P")

as_it_stands: Final = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
"""Arguments such as --lowvram are ComfyUI's."""

words_argument = click.argument("words", nargs=-1, type=click.UNPROCESSED)


def told(prefix: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a command tell its errors as `PREFIX: ERROR - …` on stderr."""

    def telling(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
            except (ApiError, FailedError, NotReachableError) as error:
                tell_error(prefix, with_hint(error))
                sys.exit(NOT_REACHABLE if isinstance(error, NotReachableError) else FAILED)

        return run

    return telling


def tell_error(prefix: str, text: str) -> None:
    click.echo(f"{prefix}: ERROR - {text}", err=True)


def refuse(prefix: str, text: str, usage: str) -> NoReturn:
    """End with a usage error; nothing has been done."""
    tell_error(prefix, text)
    click.echo(usage, err=True)
    sys.exit(USAGE)
