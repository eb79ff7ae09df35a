"""`comfysup events`."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import told
from comfysup.cli.printing import label

Event: TypeAlias = dict[str, Any]
"""`event`, `id` and `data`, as they were sent."""

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
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Begin after that event.")
@click.option("--json", "as_json", is_flag=True, help="Print each as a line of JSON.")
@told
def events(*, since: int | None, as_json: bool) -> None:
    """Print what happens, a line each, until Ctrl-C."""
    with Client().stream(f"{API}/events", last_event_id=since) as pieces:
        for event in read_events(pieces):
            click.echo(json.dumps(event, ensure_ascii=False) if as_json else line_of(event))


def read_events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """Read server-sent events; comments and retry times are not given."""
    fields: dict[str, str] = {}
    for line in _lines(pieces):
        name, _, value = line.partition(": ")
        if name in {"event", "id", "data"}:
            fields[name] = value
        elif not line and "data" in fields:
            yield {
                "event": fields.get("event", "message"),
                "id": int(fields["id"]),
                "data": json.loads(fields["data"]),
            }
            fields = {}


def line_of(event: Event) -> str:
    """Return one line: when, what, and to whom."""
    data = event["data"]
    name = event["event"]
    colour = COLOURS.get(name.rpartition(".")[2])
    words = [data.get("at", ""), click.style(f"{name:<22}", fg=colour)]
    if instance := data.get("instance"):
        words.append(label(instance))
        words += [f"pid {instance['pid']}"] if instance["pid"] else []
    if "missed" in data:
        words.append("some" if data["missed"] is None else str(data["missed"]))
    if message := data.get("message"):
        words.append(message.partition("\n")[0])
    return "  ".join(word for word in words if word)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode()
