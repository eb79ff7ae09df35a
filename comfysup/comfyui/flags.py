"""The options that a ComfyUI knows, read from the text of its `comfy/cli_args.py`.

That file is never imported: it needs the environment's own packages, and it parses `sys.argv`.
"""

import ast
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from pathlib import Path

CLI_ARGS = Path("comfy", "cli_args.py")


def parse_flags(text: str) -> frozenset[str]:
    """Return the option strings of every `….add_argument("--flag", …)` in `text`.

    Raises SyntaxError or ValueError (null bytes, before 3.12) where `text` is no Python.
    """
    return frozenset(
        argument.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
        for argument in node.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and argument.value.startswith("-")
    )


def meant_by(argument: str, known: AbstractSet[str]) -> str | None:
    """Return the flag of `known` that argparse takes `argument` for, or None.

    Like argparse it understands `--flag=value` and every abbreviation that only one flag begins
    with: `--temp-d=/x` is `--temp-directory`.
    """
    head = argument.partition("=")[0]
    if not head.startswith("--") or head == "--":
        return None
    if head in known:
        return head
    candidates = [flag for flag in known if flag.startswith(head)]
    return candidates[0] if len(candidates) == 1 else None


def flags_in(arguments: Iterable[str], known: AbstractSet[str]) -> frozenset[str]:
    """Return which flags of `known` the arguments name."""
    return frozenset(
        flag for argument in arguments if (flag := meant_by(argument, known)) is not None
    )


def value_of(flag: str, arguments: Sequence[str], known: AbstractSet[str]) -> str | None:
    """Return the value that the arguments give to a flag with one value; the last one counts."""
    value = None
    for argument, following in zip_longest(arguments, arguments[1:]):
        if meant_by(argument, known) == flag:
            _, assigned, inline = argument.partition("=")
            value = inline if assigned else following
    return value
