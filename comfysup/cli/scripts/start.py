"""`/start_comfyui.sh [ID] ["ARGS"]` and `/start_comfyui.sh status`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import FailedError
from comfysup.cli.scripts.script_args import (
    PATIENCE,
    as_it_stands,
    help_of,
    refuse,
    told,
    words_argument,
)
from comfysup.cli.scripts.starting import announce, report
from comfysup.cli.scripts.table import show_for_start

if TYPE_CHECKING:
    from comfysup.cli.instances_file import DaemonsFile


def base_port(environ: Mapping[str, str], daemons: int) -> int:
    """The caller's COMFYUI_BASE_PORT, else that of the daemon."""
    written = environ.get("COMFYUI_BASE_PORT", "").strip()
    if not written:
        return daemons
    if not (written.isascii() and written.isdigit()):
        raise FailedError(f"COMFYUI_BASE_PORT must be a port, is {written!r}")
    return int(written)


def configuration(text: str) -> dict[str, Any]:
    """Return a configuration from an argument; like the file, it may contain comments."""
    try:
        value = json.loads(text)
    except ValueError:
        value = _with_comments(text)
    if not isinstance(value, dict):
        raise FailedError('cannot read the configuration: it must be {"instances": [...]}')
    return {"environment": os.environ.get("COMFYUI_ENVIRONMENT") or None, **value}


def for_ports(file: "DaemonsFile", ports: Sequence[int]) -> list[dict[str, Any]]:
    """An instance for each port: that of the file, or one with the id that belongs to the port."""
    from comfysup.cli.instances_file import body_of

    written = {entry.spec.port: body_of(entry.spec) for entry in file.entries}
    base = base_port(os.environ, file.base_port)
    if low := [port for port in ports if port < base and port not in written]:
        raise FailedError(
            f"cannot start an instance on port {low[0]}: it is below the base port {base}, so no "
            f"id belongs to it; give it one in {file.path}"
        )
    environment = os.environ.get("COMFYUI_ENVIRONMENT") or None
    new = {port: {"id": port - base, "port": port, "environment": environment} for port in ports}
    return [written.get(port, new[port]) for port in ports]


def _with_comments(text: str) -> object:
    from comfysup.config.jsonc import JsonSyntaxError, Lines, parse

    try:
        return parse(text).value
    except JsonSyntaxError as error:
        line, column = Lines(text).position(error.offset)
        place = f"line {line}, column {column}"
        raise FailedError(f"cannot read the configuration: {place}: {error}") from None


USAGE = """\
usage: /start_comfyui.sh [ID=0] ["EXTRA ARGS"]     start that instance
       /start_comfyui.sh status                    show what runs
       /start_comfyui.sh help                      this text

Variables say from what, where and as what it is started: COMFYUI_ENVIRONMENT
(comm), INSTANCE_PORT (COMFYUI_BASE_PORT + ID), INSTANCE_NAME (instance_<ID>)."""


@click.command(
    context_settings=as_it_stands,
    help=help_of("Start one instance, or show what runs.", USAGE),
)
@words_argument('[ID] ["EXTRA ARGS"]')
@told("COMFYUI")
def start(words: tuple[str, ...]) -> None:
    """Start one instance, or show running instances."""
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
    """Return the instance that the variables describe; the daemon's settings fill the rest."""
    settings = client.get(f"{API}/daemon")["settings"]
    return {
        "id": int(number),
        "port": environ.get("INSTANCE_PORT")
        or base_port(environ, settings["base_port"]) + int(number),
        "name": environ.get("INSTANCE_NAME") or f"instance_{int(number)}",
        "environment": environ.get("COMFYUI_ENVIRONMENT") or settings["environment"],
    }
