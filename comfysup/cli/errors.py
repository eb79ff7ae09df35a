"""How a command ends that could not do its work: its reason on stderr, and the right exit code."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, ParamSpec

import click

from comfysup.cli import INTERRUPTED
from comfysup.cli.client import ApiError, NotReachableError
from comfysup.cli.output import ExitWith, has_left, lost, print_json

FAILED = 1
NOT_REACHABLE = 3

HINTS: Final = {
    "unknown_environment": "`comfysup env list` shows what there is",
    "name_taken": "choose another name, or stop that instance",
    "shutting_down": "the daemon is stopping; start the container or the daemon again",
    "not_found": "the running daemon is older than this command: `comfysup daemon restart`",
}
"""Remedies by the error code of the daemon's response."""

P = ParamSpec("P")


class FailedError(Exception):
    """The command failed. The text gives the reason and the remedy."""

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON, in the shape of the API's errors."""
        return {"detail": str(self), "code": "failed"}


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command print its errors instead of raising, and end it by `ExitWith`."""

    @functools.wraps(command)
    def telling(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SystemExit as end:
            raise ExitWith(end.code) from None
        except (ApiError, FailedError, NotReachableError) as error:
            _tell_and_exit(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            raise ExitWith(INTERRUPTED) from None
        raise ExitWith(0)

    return telling


def shown(command: Callable[P, None]) -> Callable[P, None]:
    """Do the same for a command that only shows: it fails when its output is lost."""

    @functools.wraps(command)
    def showing(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ApiError, FailedError, NotReachableError) as error:
            _tell_and_exit(error, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            raise ExitWith(INTERRUPTED) from None

    return showing


@contextmanager
def check_output() -> Iterator[None]:
    """Exit with `FAILED` instead of 0 when output was lost, unless the exit code is a `ExitWith`.

    A reader that closes the pipe early, as `head` does, has read all it wanted: no failure.
    """
    try:
        yield
    except ExitWith:
        raise
    except SystemExit as end:
        if not end.code and (error := lost(sys.stdout)) and not has_left(error):
            tell(FailedError(f"cannot write the output: {error.strerror}"))
            sys.exit(FAILED)
        raise


def tell(error: Exception) -> None:
    """Write why something failed on stderr."""
    click.echo(f"comfysup: {with_hint(error)}", err=True)


def with_hint(error: Exception) -> str:
    """Return the text of an error, with its remedy if one is known."""
    hint = HINTS.get(error.code) if isinstance(error, ApiError) else None
    return f"{error}\n  {hint}" if hint else str(error)


def _tell_and_exit(error: ApiError | FailedError | NotReachableError, *, as_json: bool) -> NoReturn:
    """Print an error for people on stderr, or as the API's JSON on stdout with `as_json`."""
    if as_json:
        print_json(error.body)
    tell(error)
    raise ExitWith(NOT_REACHABLE if isinstance(error, NotReachableError) else FAILED)
