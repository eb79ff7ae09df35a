"""Lines of logs: which of them are wanted, and how they are printed."""

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import click

from comfysup.api.views.instance_table import padded, wall, width
from comfysup.cli.client import Client, instance_path
from comfysup.cli.output import on_terminal
from comfysup.cli.table import folded

COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue")
"""Colours of the names before lines."""

EVERY_LINE: Final = 10_000_000
"""More lines than a log has."""

_HEADING = re.compile(r"=== (\S+) comfysup: ")
"""How the daemon begins the lines that it writes into a log itself."""


class Span:
    """The part of a log that is wanted: its last `lines`, from the line `begin` on if given."""

    def __init__(self, lines: int, begin: str | None) -> None:
        self.lines = lines
        self._begin = begin

    def within(self, lines: list[str]) -> list[str]:
        """Return the lines of the span; call this with all lines, in order, batch by batch."""
        if self._begin is not None:
            place = lines.index(self._begin) if self._begin in lines else len(lines)
            lines = lines[place:]
            self._begin = None if lines else self._begin
        return lines


def batches_of(client: Client, ref: str, count: int) -> Iterator[list[str]]:
    """Yield the last lines of a log as they come, without line ends; raises as the client does."""
    rest = b""
    with client.stream(instance_path(ref, "logs"), lines=count) as pieces:
        for piece in pieces:
            whole, end, unfinished = piece.rpartition(b"\n")
            if end:
                yield (rest + whole).decode(errors="replace").split("\n")
                rest = b""
            rest += unfinished
    if rest:
        yield [rest.decode(errors="replace")]


def heading_before(client: Client, ref: str, moment: float) -> str | None:
    """Return the last line with a time before `moment` (wall-clock seconds); None for none."""
    found = None
    for line in chain.from_iterable(batches_of(client, ref, EVERY_LINE)):
        heading = _HEADING.match(line)
        if heading and _time_of(heading[1]) <= moment:
            found = line
    return found


def _time_of(text: str) -> float:
    """Return the wall-clock seconds in a heading, or `never` if it has none."""
    try:
        return wall(text)
    except ValueError:
        return float("inf")


class LinePrinter:
    """Prints lines of one log unchanged, or of several logs with their names."""

    def __init__(self, names: Sequence[str]) -> None:
        """Prefix lines with one of these names, or with nothing if there is none."""
        room = max(map(width, names), default=0)
        self._prefixes = {
            name: click.style(
                f"{padded(name, room, right=False)} | ", fg=COLOURS[place % len(COLOURS)]
            )
            for place, name in enumerate(names)
        }
        self._draws_progress = not names and on_terminal()
        self._drawn = False

    def lines(self, name: str, lines: Iterable[str]) -> None:
        """Print whole lines of the log of that name."""
        prefix = self._prefixes.get(name, "")
        clear = "\r\x1b[K" if self._drawn else ""
        self._drawn = False
        text = clear + "".join(f"{prefix}{line}\n" for line in lines)
        click.echo(text, nl=False)

    def progress(self, text: str) -> None:
        """Draw the current text of an unfinished line, if on a terminal."""
        if self._draws_progress:
            columns = shutil.get_terminal_size().columns
            sys.stdout.write(f"\r\x1b[K{folded(text, columns - 1)[0]}")
            sys.stdout.flush()
            self._drawn = True
