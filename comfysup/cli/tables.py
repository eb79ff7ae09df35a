"""Instances and environments as rows of a table."""

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, cast

import click

from comfysup.api.views.instance_table import NUMBERS, facts, one_line, sentences
from comfysup.api.views.instances import InstanceView
from comfysup.cli.table import Layout, Line, Row, print_table, wrapped
from comfysup.model.printable import printable_line

COLOURS: Final[Mapping[str, Mapping[str, object]]] = {
    "running": {"fg": "green"},
    "starting": {"fg": "cyan"},
    "draining": {"fg": "cyan"},
    "stopping": {"fg": "yellow"},
    "backoff": {"fg": "yellow"},
    "failed": {"fg": "red", "bold": True},
    "stuck": {"fg": "red", "bold": True},
    "stopped": {"dim": True},
    "usable": {"fg": "green"},
    "unusable": {"fg": "red", "bold": True},
}
"""Styles of states."""

LABELS: Final[Mapping[str, Mapping[str, object]]] = {
    "reason": {"fg": "red"},
    "problem": {"fg": "red"},
    "hint": {"fg": "cyan"},
    "note": {"dim": True},
}
"""Styles of the lines below a row."""

SPARE: Final = ("PID", "RESTARTS", "UPTIME", "GPU", "ENVIRONMENT", "MEMORY", "QUEUE")
SPARE_OF_ENVIRONMENTS: Final = ("NODES", "PYTHON", "TORCH", "COMFYUI")
"""Columns that leave the row on a narrow terminal, in that order."""

NO_INSTANCES: Final = (
    "No instances. `comfysup start REF` starts one of instances.json, and `comfysup env list` "
    "shows the environments that others can be started from."
)


def print_instances(instances: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each, with the reason, the hint and the notes below it."""
    if not instances:
        for line in wrapped(NO_INSTANCES, shutil.get_terminal_size().columns):
            click.secho(line, dim=True)
        return
    layout = Layout(NUMBERS, SPARE, frozenset(SPARE) - {"PID"}, _style)
    print_table([_instance(each) for each in map(as_view, instances)], layout)


def print_environments(environments: Iterable[Mapping[str, Any]]) -> None:
    """Print a row for each, with its problems and notes below it."""
    layout = Layout(
        frozenset({"NODES"}), SPARE_OF_ENVIRONMENTS, frozenset(SPARE_OF_ENVIRONMENTS), _style
    )
    print_table([_environment(each) for each in environments], layout)


def as_view(instance: Mapping[str, Any]) -> InstanceView:
    """Return an instance of an answer with the attributes of the view that it was made from."""
    view = json.loads(json.dumps(instance), object_hook=lambda fields: SimpleNamespace(**fields))
    return cast("InstanceView", view)


def _style(heading: str, cell: str) -> Mapping[str, object]:
    return COLOURS.get(cell, {}) if heading == "STATE" else {}


def _instance(view: InstanceView) -> Row:
    said = sentences(view, time.time())
    return Row(facts(view), [Line(label, text, LABELS[label]) for label, text in said])


def _environment(environment: Mapping[str, Any]) -> Row:
    cells = {
        "NAME": printable_line(environment["name"]),
        "STATE": "usable" if environment["usable"] else "unusable",
        "COMFYUI": printable_line(environment["comfyui_version"] or "-"),
        "PYTHON": printable_line(environment["python_version"] or "-"),
        "TORCH": printable_line(environment["torch_version"] or "-"),
        "NODES": str(len(environment["custom_nodes"])),
    }
    problems = [
        Line("problem", one_line(each), LABELS["problem"]) for each in environment["problems"]
    ]
    notes = [Line("note", one_line(each), LABELS["note"]) for each in environment["notes"]]
    return Row(cells, [*problems, *notes])
