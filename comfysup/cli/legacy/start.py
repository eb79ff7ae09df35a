"""`/start_comfyui.sh [ID] ["ARGS"]` and `/start_comfyui.sh status`."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from comfysup.cli.client import API, Client
from comfysup.cli.legacy.bodies import base_port
from comfysup.cli.legacy.starting import announce, report
from comfysup.cli.legacy.table import show_for_start
from comfysup.cli.legacy.words import PATIENCE, as_it_stands, refuse, told, words_argument

USAGE = """\
usage: /start_comfyui.sh [ID=0] ["EXTRA ARGS"]     start that instance
       /start_comfyui.sh status                    show what runs
       /start_comfyui.sh help                      this text

COMFYUI_ENVIRONMENT (comm), INSTANCE_PORT (COMFYUI_BASE_PORT + ID) and INSTANCE_NAME
(instance_<ID>) say from what, where and as what it is started."""


@click.command(context_settings=as_it_stands)
@words_argument
@told("COMFYUI")
def start(words: tuple[str, ...]) -> None:
    """Start one instance, or show what runs."""
    match words:
        case ["status"]:
            show_for_start(Client())
        case ["help"]:
            click.echo(USAGE)
        case [number, *arguments] if number.isascii() and number.isdigit():
            _start(number, " ".join(arguments))
        case [] | [""]:
            _start("0", "")
        case _:
            refuse("COMFYUI", f"ID must be a number, is {words[0]!r}", USAGE)


def _start(number: str, arguments: str) -> None:
    client = Client()
    fields = _fields(os.environ, client, number) | {"extra_args": arguments}
    announce(fields["name"], fields["id"], fields["port"], fields["environment"])
    answer = client.post(f"{API}/start-single", fields, timeout=PATIENCE)
    for warning in answer["warnings"]:
        click.echo(f"COMFYUI: {warning}", err=True)
    report(answer["instance"])
    sys.exit(0)


def _fields(environ: Mapping[str, str], client: Client, number: str) -> dict[str, Any]:
    """The instance as the variables name it; what they do not say, the daemon's settings do."""
    settings = client.get(f"{API}/daemon")["settings"]
    return {
        "id": int(number),
        "port": environ.get("INSTANCE_PORT")
        or base_port(environ, settings["base_port"]) + int(number),
        "name": environ.get("INSTANCE_NAME") or f"instance_{int(number)}",
        "environment": environ.get("COMFYUI_ENVIRONMENT") or settings["environment"],
    }
