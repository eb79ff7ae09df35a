"""Arguments that name instances and environments, and suggestions for unknown names."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

import click

from comfysup.cli.client import API, ApiError, Client, NotReachableError
from comfysup.cli.completion import complete_environments, complete_refs

C = TypeVar("C", bound=Callable[..., None])


def references_argument(*, required: bool) -> Callable[[C], C]:
    """Add the argument `refs`: any number of instances, at least one if `required`."""
    return click.argument(
        "refs",
        metavar="REF..." if required else "[REF]...",
        nargs=-1,
        required=required,
        shell_complete=complete_refs,
        callback=lambda _context, _parameter, words: tuple(dict.fromkeys(map(_checked, words))),
    )


def environment_argument(*, required: bool) -> Callable[[C], C]:
    """Add the argument `name` of an environment; None if omitted and not `required`."""
    return click.argument(
        "name",
        required=required,
        shell_complete=complete_environments,
        callback=lambda _context, _parameter, word: None if word is None else _checked(word),
    )


def _checked(word: str) -> str:
    """Return a word that is valid in a request. Raises `click.BadParameter` otherwise."""
    if not word:
        raise click.BadParameter("it is empty; it must be an id or a name")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{word!a} is not valid UTF-8, so no name matches it") from None
    return word


def check_choice(refs: Sequence[str], *, every: bool) -> None:
    """Raise `click.UsageError` unless the caller named instances, or chose all of them."""
    if not refs and not every:
        raise click.UsageError("name the instances by id or name, or pass --all")
    if refs and every:
        raise click.UsageError("--all cannot be combined with names or ids of instances")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar known word, or None if none is similar."""
    words = list(known)
    begun = [each for each in words if word and each.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    found = get_close_matches(word, words, n=1, cutoff=0.6)
    return found[0] if found else None


def with_suggestion(error: ApiError, ref: str, others: Sequence[str] = ()) -> ApiError:
    """Return the error of an unknown instance with a similar known name, if there is one.

    `others` are names that the daemon does not know.
    """
    if error.code != "unknown_instance":
        return error
    try:
        known = [each["name"] for each in Client().get(f"{API}/instances")["instances"]]
    except (ApiError, NotReachableError):
        known = []
    name = nearest(ref, [*known, *others])
    if name is None:
        return error
    return ApiError(error.status, f"{error}\n  did you mean '{name}'?", error.code, error.body)
