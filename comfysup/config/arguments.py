"""Extra arguments for ComfyUI: split as a shell splits them, but never run by a shell."""

import shlex
from collections.abc import Iterable
from typing import Final

from comfysup.config.field_errors import problem, quoted, shown
from comfysup.config.field_values import is_passable

MAX_ARGUMENTS: Final = 256
MAX_ARGUMENTS_CHARS: Final = 30_000
"""The limit for all arguments together. The kernel takes 131,072 bytes per argument, and a
character may have four bytes."""

OWN_OPTIONS: Final = ("--port", "--listen")
GPU_OPTION: Final = "--cuda-device"
_SHORTEST = len("--x")


def split(value: object) -> list[object]:
    """Return the words of a string as a shell splits it, a list unchanged, and none for null."""
    match value:
        case None:
            words: list[object] = []
        case str():
            words = list(_words(value))
        case list() | tuple():
            words = list(value)
        case _:
            raise problem("extra_args", f"must be text or a list of texts, is {shown(value)}")
    chars = sum(len(word) for word in words if isinstance(word, str))
    if len(words) > MAX_ARGUMENTS or chars > MAX_ARGUMENTS_CHARS:
        raise problem(
            "extra_args",
            f"must be at most {MAX_ARGUMENTS} arguments of {MAX_ARGUMENTS_CHARS} characters "
            f"together, is {len(words)} of {chars}",
        )
    return words


def argument(value: object) -> str:
    """Return one argument that ComfyUI may receive; raises ValueError otherwise."""
    if not isinstance(value, str):
        raise problem("argument", f"must be text, is {shown(value)}")
    if not is_passable(value):
        raise problem("argument", "must not contain NUL or an unpaired surrogate")
    for option in OWN_OPTIONS:
        if _means(value, option):
            raise problem("argument", f"cannot pass {quoted(value)}: comfysup sets {option} itself")
    return value


def parse(value: object) -> tuple[str, ...]:
    """Return all arguments, split and checked; raises ValueError at the first invalid one."""
    return tuple(argument(word) for word in split(value))


def without_own_options(words: Iterable[str]) -> list[str]:
    """Return the words without the options that comfysup sets, and without their values."""
    kept: list[str] = []
    dropped: str | None = None
    for word in words:
        before, dropped = dropped, next((each for each in OWN_OPTIONS if _means(word, each)), None)
        is_value = before is not None and not word.startswith("-")
        if dropped and "=" in word:
            dropped = None  # its value is in the same word
        elif not dropped and not is_value:
            kept.append(word)
    return kept


def gpu_argument(words: Iterable[str]) -> str | None:
    """Return the first argument that selects a GPU, or None."""
    return next((word for word in words if _means(word, GPU_OPTION)), None)


def _words(value: str) -> list[str]:
    # shlex reads every character, so too long a text is refused first.
    if len(value) > 2 * MAX_ARGUMENTS_CHARS:
        raise problem(
            "extra_args",
            f"must be at most {2 * MAX_ARGUMENTS_CHARS} characters, is {len(value)} long",
        )
    try:
        return shlex.split(value)
    except ValueError as error:
        why = "ends in a backslash" if "escaped" in str(error) else "a quote is not closed"
        raise problem("extra_args", f"cannot split {shown(value)} into arguments: {why}") from None


def _means(word: str, option: str) -> bool:
    """Return whether argparse may read `word` as `option`: in full, with `=value`, or shortened."""
    written = word.partition("=")[0]
    return len(written) >= _SHORTEST and option.startswith(written)
