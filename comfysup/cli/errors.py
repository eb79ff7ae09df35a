"""How a command ends that could not do its work: its reason on stderr, and the right exit code."""

import functools
import sys
from collections.abc import Callable
from typing import Final, ParamSpec

import click

from comfysup.cli.client import ApiError, NotReachableError

FAILED = 1
NOT_REACHABLE = 3
INTERRUPTED = 130

HINTS: Final = {
    "unknown_environment": "`comfysup env list` shows what there is",
    "name_taken": "choose another name, or stop that instance",
    "shutting_down": "the daemon is about to end; start the container or the daemon again",
    "not_found": "the daemon that runs is older than this command; start it anew",
}
"""What to do next, by the code of the daemon's answer."""

P = ParamSpec("P")


class FailedError(Exception):
    """What was asked for was not done; the text says why, and what to do next."""


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command tell its errors instead of raising them."""

    @functools.wraps(command)
    def telling(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except NotReachableError as error:
            tell(error)
            sys.exit(NOT_REACHABLE)
        except (ApiError, FailedError) as error:
            tell(error)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return telling


def tell(error: Exception) -> None:
    """Write why something failed on stderr."""
    click.echo(f"comfysup: {with_hint(error)}", err=True)


def with_hint(error: Exception) -> str:
    """Return the text of an error, and what to do next where that is known."""
    hint = HINTS.get(error.code) if isinstance(error, ApiError) else None
    return f"{error}\n  {hint}" if hint else str(error)
