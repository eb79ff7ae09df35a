"""The tables of the pages in docs/, and calls in the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "comfysup"

CODE = re.compile(r"`([^`]+)`")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def section(text: str, title: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {title!r}"
    return found[1]


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the rows of the first table whose first heading is `first`."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith(f"| {first} |")), None)
    assert start is not None, f"no table of {first!r}"
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        found.append([cell.strip() for cell in cells])
    return found


def words(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return CODE.findall(cell)


def table(text: str, first: str) -> dict[str, list[str]]:
    """Return the rows of a table by each word in backticks of their first cells."""
    return {word: row for row in rows(text, first) for word in words(row[0])}


def calls(*names: str, below: str = "") -> Iterator[ast.Call]:
    """Yield every call in the source of a function or class with one of these names."""
    for file in sorted((SOURCE / below).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and _name(node.func) in names:
                yield node


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def argument(call: ast.Call, place: int, name: str = "") -> str | None:
    """Return the text that a call passes for an argument, or None if it is not a literal."""
    given = next((each.value for each in call.keywords if each.arg == name), None)
    if given is None and len(call.args) > place:
        given = call.args[place]
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    return None
