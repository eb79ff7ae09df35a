"""`comfysup events`."""

import json
from typing import Any

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import shown
from comfysup.cli.output import label
from comfysup.cli.streams import Event, follow, merged, reconnect_option
from comfysup.cli.times import Whole
from comfysup.model.printable import printable, printable_json, printable_values

COLOURS = {
    "ready": "green",
    "adopted": "green",
    "exited": "red",
    "failed": "red",
    "stuck": "red",
    "unresponsive": "red",
    "backoff": "yellow",
}


@click.command()
@click.option(
    "--since",
    type=Whole(min=0),
    metavar="ID",
    help="Begin after this event; 0 begins with the oldest that is kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each as a line of JSON.")
@reconnect_option
@shown
def events(*, since: int | None, as_json: bool, reconnect: float) -> None:
    """Print events as they happen, until Ctrl-C.

    Continues over a restart of the daemon.
    """
    stream = follow(Client(), f"{API}/events", reconnect=reconnect, last_event_id=since)
    for _, event in merged({"events": stream}):
        if isinstance(event, Exception):
            raise event
        click.echo(_json_line(event) if as_json else line_of(event))


def _json_line(event: Event) -> str:
    fields = {"event": event.name, "id": int(event.id), "data": json.loads(event.data)}
    return printable_json(json.dumps(fields, ensure_ascii=False))


def line_of(event: Event) -> str:
    """Return one line for an event: time, name, and subject."""
    data: Any = printable_values(json.loads(event.data))
    name = printable(event.name)
    colour = COLOURS.get(name.rpartition(".")[2])
    words = [data.get("at", ""), click.style(f"{name:<22}", fg=colour)]
    if instance := data.get("instance"):
        words.append(label(instance))
        words += [f"pid {instance['pid']}"] if instance["pid"] else []
    if "prompt_id" in data:
        words.append(f"prompt {data['prompt_id']}")
    if "missed" in data:
        words.append("some" if data["missed"] is None else str(data["missed"]))
    if message := data.get("message"):
        words.append(message.partition("\n")[0])
    return "  ".join(word for word in words if word)
