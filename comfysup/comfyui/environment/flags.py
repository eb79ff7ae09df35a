"""The options that a ComfyUI declares, parsed from the source of its `comfy/cli_args.py`.

The file is never imported: it needs the environment's packages and parses `sys.argv`.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

CLI_ARGS = Path("comfy", "cli_args.py")


SWITCH_ACTIONS = {"store_true", "store_false", "store_const", "append_const", "count"}
NUMBERS = {"int", "float", "bool"}


@dataclass(frozen=True, slots=True)
class Flags:
    """The option strings that a ComfyUI declares.

    `harmless` are those that take no free text: switches, numbers, and one of several choices.
    """

    known: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()


def parse_options(text: str) -> Flags:
    """Return the option strings of every `….add_argument("--flag", …)` in `text`.

    An option declared twice is harmless only if both declarations are. Raises SyntaxError or
    ValueError (null bytes, before 3.12) if `text` is not valid Python, and RecursionError or
    MemoryError if it is nested deeper than the parser can follow.
    """
    nodes = list(ast.walk(ast.parse(text)))
    enums = {node.name for node in nodes if isinstance(node, ast.ClassDef) and _is_enum(node)}
    known: set[str] = set()
    free: set[str] = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument")):
                names = set(_option_strings(node))
                known |= names
                free |= set() if _is_harmless(node, enums) else names
            case _:
                pass
    return Flags(frozenset(known), frozenset(known - free))


def _option_strings(call: ast.Call) -> Iterator[str]:
    for argument in call.args:
        match argument:
            case ast.Constant(value=str(name)) if name.startswith("-"):
                yield name
            case _:
                pass


def _is_harmless(call: ast.Call, enums: AbstractSet[str]) -> bool:
    """Return whether an option's value cannot be free text; `enums` are classes of the file."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if "choices" in given or None in given:
        return None not in given
    match given.get("action"):
        case ast.Constant(value=action) if action in SWITCH_ACTIONS:
            return True
        case ast.Attribute(attr="BooleanOptionalAction"):
            return True
        case _:
            pass
    match given.get("type"):
        case ast.Name(id=name):
            return name in NUMBERS | enums or _is_imported_enum(given.get("action"))
        case _:
            return False


def _is_imported_enum(action: ast.expr | None) -> bool:
    """Return whether the action is ComfyUI's `EnumAction`, whose type is always an enumeration."""
    return isinstance(action, ast.Name) and action.id == "EnumAction"


def _is_enum(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).rpartition(".")[2].endswith("Enum") for base in node.bases)


def meant_by(argument: str, known: AbstractSet[str]) -> str | None:
    """Return the flag of `known` that argparse would choose for `argument`, or None.

    Like argparse, this accepts `--flag=value` and unambiguous abbreviations: `--temp-d=/x` is
    `--temp-directory`.
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
