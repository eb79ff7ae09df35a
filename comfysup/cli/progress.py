"""Live status lines on a terminal: the state and the last log line of each instance.

The main thread, which receives Ctrl-C, is the only one that draws. So no lock can be left held by
an interrupt.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Final

import click

from comfysup.api.views.instance_table import padded, width
from comfysup.cli.client import ApiError, Client, NotReachableError, instance_path
from comfysup.cli.requests import Request
from comfysup.cli.table import folded
from comfysup.cli.tables import COLOURS
from comfysup.model.printable import printable_line

PERIOD: Final = 0.2
"""Seconds between two updates."""

SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

GAP: Final = "  "


def show_progress(requests: Sequence[Request]) -> None:
    """Show a line for each request until all are answered; nothing is left of them then."""
    client, began = Client(), time.monotonic()
    frames = cycle(SPINNER)
    with _screen() as draw:
        while waiting := [request for request in requests if not request.done]:
            seconds = f"{time.monotonic() - began:.0f} s"
            size = shutil.get_terminal_size()
            looks = [_look(client, request.ref) for request in waiting[: size.lines - 1]]
            room = max(width(name) for name, _, _ in looks)
            frame = next(frames)
            draw([_line(frame, room, each, seconds, size.columns) for each in looks])
            waiting[0].wait(PERIOD)


@contextmanager
def _screen() -> "Iterator[Draw]":
    """Yield a function that redraws the lines in place; clear them at the end."""
    draw = Draw()
    try:
        sys.stdout.write("\x1b[?25l")  # hide the cursor
        yield draw
    finally:
        draw([])
        sys.stdout.write("\x1b[?25h")
        sys.stdout.flush()


class Draw:
    """Draws lines over those that it drew last."""

    def __init__(self) -> None:
        self._height = 0

    def __call__(self, lines: Sequence[str]) -> None:
        up = f"\x1b[{self._height}A" if self._height else ""
        sys.stdout.write(f"\r{up}\x1b[J" + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        self._height = len(lines)


def _look(client: Client, ref: str) -> tuple[str, str, str]:
    """Return name, state and last log line; name and log may be missing."""
    name, state = ref, "…"
    with suppress(ApiError, NotReachableError):
        instance = client.get(instance_path(ref))
        name, state = instance["name"], instance["state"]
    return name, state, _last_line(client, ref)


def _line(frame: str, room: int, look: tuple[str, str, str], seconds: str, columns: int) -> str:
    """Return a line cut to the width of the terminal."""
    name, state, said = look
    begin = GAP.join((frame, padded(name, room, right=False), ""))
    end = f"{GAP}{seconds}{GAP}"
    left = columns - 1 - width(begin) - width(state) - width(end)
    if left < 0:
        return folded(f"{begin}{state}{end}", columns - 1)[0]
    coloured = click.style(state, **COLOURS.get(state, {}))  # type: ignore[arg-type]
    return f"{begin}{coloured}{end}{click.style(folded(said, left)[0], dim=True)}"


def _last_line(client: Client, ref: str) -> str:
    try:
        with client.stream(instance_path(ref, "logs"), lines=1) as pieces:
            said = b"".join(pieces).decode(errors="replace")
    except (ApiError, NotReachableError):
        return ""
    return printable_line(said.rstrip().replace("\r", "\n").rpartition("\n")[2])
