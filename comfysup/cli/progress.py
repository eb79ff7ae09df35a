"""The live lines for people at a terminal: what an instance does at this moment, and says."""

import time
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from comfysup.cli.client import ApiError, Client, NotReachableError, instance_path
from comfysup.cli.requests import Request
from comfysup.cli.table import COLOURS, duration

PERIOD = 0.2
"""Seconds between two looks; those who watch cannot read faster."""


def show_progress(requests: Sequence[Request]) -> None:
    """Show a line for each request until all are answered; nothing is left of them then."""
    client, began = Client(), time.monotonic()
    spinner = Spinner("dots")
    with Live(console=Console(), transient=True, refresh_per_second=8) as live:
        while waiting := [request for request in requests if not request.done]:
            seconds = duration(time.monotonic() - began)
            lines = Table.grid(padding=(0, 2))
            for request in waiting:
                lines.add_row(spinner, *_shown(client, request.ref, seconds))
            live.update(lines)
            waiting[0].wait(PERIOD)


def _shown(client: Client, ref: str, seconds: str) -> tuple[Text, ...]:
    """Name, state, seconds and last log line; an instance may not be there yet, nor have a log."""
    name, state = ref, "…"
    with suppress(ApiError, NotReachableError):
        instance = client.get(instance_path(ref))
        name, state = instance["name"], instance["state"]
    line = Text(_last_line(client, ref), style="dim", no_wrap=True, overflow="ellipsis")
    return Text(name), Text(state, style=COLOURS.get(state, "")), Text(seconds), line


def _last_line(client: Client, ref: str) -> str:
    try:
        with client.stream(instance_path(ref, "logs"), lines=1) as pieces:
            said = b"".join(pieces).decode(errors="replace")
    except (ApiError, NotReachableError):
        return ""
    shown = said.rstrip().replace("\r", "\n").rpartition("\n")[2]
    return "".join(char for char in shown if char.isprintable())
