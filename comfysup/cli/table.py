"""Instances and environments as tables for people at a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "running": "green",
    "starting": "cyan",
    "draining": "cyan",
    "stopping": "yellow",
    "backoff": "yellow",
    "failed": "bold red",
    "stuck": "bold red",
    "stopped": "dim",
}


INSTANCES = ("ID", "NAME", "ENVIRONMENT", "PORT", "STATE", "PID", "UPTIME", "RESTARTS", "LAST EXIT")
ENVIRONMENTS = ("NAME", "STATE", "COMFYUI", "PYTHON", "TORCH", "NODES", "PROBLEMS AND NOTES")
RIGHT = {"ID", "PORT", "PID", "UPTIME", "RESTARTS", "NODES"}
LONG = {"LAST EXIT", "PROBLEMS AND NOTES"}
"""What is cut where the terminal ends."""


def print_instances(instances: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each, with why its last process ended where nobody asked for that."""
    if not instances:
        Console().print(
            "No instances. `comfysup start REF` starts one of instances.json, and "
            "`comfysup env list` shows what others can be started from.",
            style="dim",
        )
        return
    _print(INSTANCES, map(_cells, instances))


def print_environments(environments: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each, with what it lacks."""
    _print(ENVIRONMENTS, map(_environment_cells, environments))


def _print(headings: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in RIGHT else "left",
            # What wraps is made narrower first; its cells themselves do not wrap.
            no_wrap=heading not in LONG,
        )
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _cells(instance: Mapping[str, Any]) -> list[Text]:
    state = instance["state"]
    ended = instance["last_exit"]
    cells = [
        str(instance["id"]),
        instance["name"],
        instance["environment"],
        str(instance["port"]),
        state,
        str(instance["pid"] or "-"),
        duration(instance["uptime_seconds"]),
        str(instance["restarts"]),
        ended["message"] if ended and not ended["expected"] else "",
    ]
    *short, reason = cells
    shown = [Text(cell, style=COLOURS.get(state, "") if cell == state else "") for cell in short]
    return [*shown, _cut(reason)]


def _environment_cells(environment: Mapping[str, Any]) -> list[Text]:
    usable = environment["usable"]
    versions = (environment[f"{part}_version"] or "-" for part in ("comfyui", "python", "torch"))
    lacks = "; ".join((*environment["problems"], *environment["notes"]))
    return [
        Text(environment["name"]),
        Text("usable" if usable else "unusable", style="green" if usable else "bold red"),
        *map(Text, versions),
        Text(str(len(environment["custom_nodes"]))),
        _cut(lacks, "dim" if usable else ""),
    ]


def _cut(text: str, style: str = "") -> Text:
    """Return one line that ends with … where the terminal does."""
    return Text(text.partition("\n")[0], style=style, no_wrap=True, overflow="ellipsis")


def duration(seconds: float | None) -> str:
    """Return a time in the two units that matter: `12 s`, `3 min 5 s`, `2 h 7 min`, `4 d 1 h`."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    for size, unit, smaller, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {name}"
    return f"{whole} s"
