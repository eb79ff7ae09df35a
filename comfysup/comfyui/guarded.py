"""Arguments of ComfyUI that only a proven caller may pass.

A path argument can delete a directory (`--temp-directory D` removes `D/temp`), write a file
(`--verbose LEVEL FILE`) or load code (`--base-directory`, `--extra-model-paths-config`). An address
can receive users' keys (`--comfy-api-base`). Value types are read from the environment's
`comfy/cli_args.py`; numbers and choices are free. Any other value is guarded, even of an undeclared
option, unless `PLAIN` lists it as harmless. Arguments are parsed as argparse does, with
abbreviations. An option without a value is free, as all switches are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comfysup.comfyui.environment.flags import meant_by
from comfysup.config.field_errors import nearest
from comfysup.model.environment import Environment
from comfysup.model.printable import shortened

_NUMBER = "[0-9]{1,9}([.][0-9]{1,9})?"
PLAIN = {
    option: re.compile(pattern)
    for option, pattern in {
        "--cache-lru": _NUMBER,
        "--cuda-device": "[0-9, ]+",
        "--default-device": _NUMBER,
        "--directml": _NUMBER,
        "--enable-cors-header": r"\*|null|[a-z]+://[A-Za-z0-9.:-]+",
        "--fast": "[a-z0-9_-]+( [a-z0-9_-]+)*",
        "--feature-flag": "[A-Za-z0-9_.-]+(=[A-Za-z0-9_.-]*)?",
        "--max-upload-size": _NUMBER,
        "--oneapi-device-selector": "[A-Za-z0-9_:;,.!*-]+",
        "--preview-method": "[a-z0-9]+",
        "--preview-size": _NUMBER,
        "--reserve-vram": _NUMBER,
        "--verbose": "DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "--whitelist-custom-nodes": "[A-Za-z0-9_-][A-Za-z0-9_.-]*( [A-Za-z0-9_-][A-Za-z0-9_.-]*)*",
    }.items()
}
"""Values that name no file, address or code: for options that accept any text, and for environments
whose options cannot be read. Several values of one option are separated by a space."""

_OPTION = re.compile(r"-(?![0-9]*\.?[0-9]+$).+", re.DOTALL)
"""A word that argparse takes for an option and not for a value; `-5` and `-` are values."""


@dataclass(frozen=True, slots=True)
class _Use:
    """An option as written, with its values; `word` is empty for values before the first option."""

    word: str
    values: tuple[str, ...]


def guarded(arguments: Sequence[str], environment: Environment) -> str | None:
    """Return why these arguments require a proven caller, or None."""
    for use in _uses(arguments):
        if reason := _reason(use, environment):
            return reason
    return None


def _reason(use: _Use, environment: Environment) -> str | None:
    if not use.values:
        return None
    if not use.word:
        # The last option of EXTRA_ARGS may take it.
        return f"the value '{shortened(use.values[0])}' stands before any option"
    option = meant_by(use.word, environment.flags | PLAIN.keys())
    if option in environment.harmless:
        return None
    plain = PLAIN.get(option or "")
    if plain and plain.fullmatch(" ".join(use.values)):
        return None
    if option in environment.flags or plain:
        return f"the value of {option} may name a file, an address or code"
    head = use.word.partition("=")[0]
    near = nearest(head, environment.flags)
    hint = f" (did you mean '{near}'?)" if near else ""
    return f"environment '{environment.name}' does not declare '{shortened(head)}'{hint}"


def _uses(arguments: Sequence[str]) -> Iterator[_Use]:
    word, begin = "", 0
    for place in range(len(arguments) + 1):
        if place < len(arguments) and not _OPTION.fullmatch(arguments[place]):
            continue
        yield _Use(word, (*_inline(word), *arguments[begin:place]))
        if place < len(arguments):
            word, begin = arguments[place], place + 1


def _inline(word: str) -> tuple[str, ...]:
    """Return the value that a word itself holds: `--flag=value`, `-fvalue`."""
    if word.startswith("-") and not word.startswith("--"):
        return (word[2:],) if word[2:] else ()
    _, assigned, value = word.partition("=")
    return (value,) if assigned else ()
