"""Tables that fit a terminal of any width without cutting text.

A row is a line of cells followed by lines that belong to it. If the terminal is too narrow for all
columns, the least important ones move below the row. Cells that are still too wide wrap.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

from comfysup.api.views.instance_table import width

GAP: Final = "  "
INDENT: Final = "    "
NAME: Final = "NAME"
"""The column that shrinks below its width in `FOLDING` if the others still need room."""

FOLDING: Final = {NAME: 22, "ENVIRONMENT": 16}
"""Widths beyond which cells of these columns wrap if room is short."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line below a row; `style` are arguments of `click.style`, for its label if it has one."""

    label: str
    text: str
    style: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """Cells by heading, and the lines below them."""

    cells: Mapping[str, str]
    below: Sequence[Line] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a table.

    `numbers` are the headings of right-aligned cells. `spare` are the columns that leave the row if
    it is too wide, in that order; those in `details` are then shown below it. `style` returns the
    style of a cell.
    """

    numbers: frozenset[str]
    spare: Sequence[str]
    details: frozenset[str]
    style: Callable[[str, str], Mapping[str, object]]


def print_table(rows: Sequence[Row], layout: Layout) -> None:
    """Print headings and rows as wide as the terminal is."""
    for line in lines_of(rows, layout, shutil.get_terminal_size().columns):
        click.echo(line)


def lines_of(rows: Sequence[Row], layout: Layout, columns: int) -> Iterable[str]:
    """Return the lines of a table for that many columns."""
    widths = _fit(rows, layout, columns)
    heading = {name: name for name in widths}
    yield from _row_lines(heading, widths, layout, lambda _name, _cell: {"bold": True})
    for row in rows:
        yield from _row_lines(row.cells, widths, layout, layout.style)
        gone = [
            f"{name.lower()} {cell}"
            for name, cell in row.cells.items()
            if name not in widths and name in layout.details and cell not in {"-", "0"}
        ]
        details = Line("", " · ".join(gone), {"dim": True})
        for line in (details, *row.below):
            yield from _below_lines(line, columns)


def _fit(rows: Sequence[Row], layout: Layout, columns: int) -> dict[str, int]:
    """Return the columns that fit, with their widths."""
    widths = {
        name: max(width(name), *(width(row.cells[name]) for row in rows))
        for name in rows[0].cells
        if name == NAME or any(row.cells[name] not in {"", "-"} for row in rows)
    }
    natural = dict(widths)
    widths |= {name: min(widths[name], most) for name, most in FOLDING.items() if name in widths}
    for name in layout.spare:
        if _total(widths) <= columns:
            break
        widths.pop(name, None)
    for name in FOLDING:
        if name in widths:
            room = widths[name] + columns - _total(widths)
            widths[name] = max(1, min(natural[name], room))
    return widths


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _row_lines(
    cells: Mapping[str, str],
    widths: Mapping[str, int],
    layout: Layout,
    style: Callable[[str, str], Mapping[str, object]],
) -> Iterable[str]:
    """Return the lines of a row; there are several if cells wrap."""
    parts = {
        name: folded(cells[name], count) if name in FOLDING else [cells[name]]
        for name, count in widths.items()
    }
    for number in range(max(map(len, parts.values()))):
        shown = []
        for name, count in widths.items():
            cell = parts[name][number] if number < len(parts[name]) else ""
            blanks = " " * (count - width(cell))
            styled = click.style(cell, **style(name, cells[name])) if cell else ""  # type: ignore[arg-type]
            shown.append(blanks + styled if name in layout.numbers else styled + blanks)
        yield GAP.join(shown).rstrip()


def _below_lines(line: Line, columns: int) -> Iterable[str]:
    """Return a line below a row, wrapped after its label."""
    label = f"{line.label}: " if line.label else ""
    room = max(10, columns - len(INDENT) - len(label))
    for number, part in enumerate(wrapped(line.text, room)):
        before = " " * len(label) if number else click.style(label, **line.style)  # type: ignore[arg-type]
        yield INDENT + before + (part if label else click.style(part, **line.style))  # type: ignore[arg-type]


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text in lines of at most that many columns, broken between words if possible."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width(joined) <= columns:
            lines[-1] = joined
            continue
        parts = folded(word, columns)
        lines[-1:] = [lines[-1], *parts] if lines[-1] else parts
    return [line for line in lines if line]


def folded(text: str, columns: int) -> list[str]:
    """Return a text in parts of at most that many columns, broken anywhere."""
    parts, used = [""], 0
    for char in text:
        if used and used + width(char) > columns:
            parts.append("")
            used = 0
        parts[-1] += char
        used += width(char)
    return parts
