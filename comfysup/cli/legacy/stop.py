"""`/stop_comfyui.sh all | instance ID | PORT | status | help`."""

import sys

import click

from comfysup.cli.client import Client
from comfysup.cli.errors import FAILED
from comfysup.cli.legacy.stopping import stop_all, stop_port, stop_ref
from comfysup.cli.legacy.table import instances, show_for_stop
from comfysup.cli.legacy.words import as_it_stands, refuse, tell_error, told, words_argument

USAGE = """\
usage: /stop_comfyui.sh all              stop all instances
       /stop_comfyui.sh instance ID      stop that instance
       /stop_comfyui.sh PORT             stop the instance on that port
       /stop_comfyui.sh status           show what runs
       /stop_comfyui.sh help             this text"""


@click.command(context_settings=as_it_stands)
@words_argument
@told("STOP")
def stop(words: tuple[str, ...]) -> None:
    """Stop one instance or all, or show what runs."""
    match words:
        case [] | ["help"]:
            click.echo(USAGE)
        case ["all"]:
            stop_all(Client())
        case ["status"]:
            show_for_stop(Client())
        case ["instance", ref] if ref:
            stop_ref(Client(), ref)
        case ["instance", *_]:
            tell_error("STOP", "Instance ID required")
            sys.exit(FAILED)
        case [port] if port.isascii() and port.isdigit():
            _stop_port(port)
        case _:
            refuse("STOP", f"unknown: {' '.join(words)}; nothing was stopped", USAGE)


def _stop_port(port: str) -> None:
    client = Client()
    if stop_port(client, int(port)):
        return
    if port in {str(each["id"]) for each in instances(client)}:
        text = f"no instance has port {port}; to stop instance {port}: instance {port}"
        refuse("STOP", text, USAGE)
    click.echo(f"STOP: No ComfyUI instance found on port {port}")
