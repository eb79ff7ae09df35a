"""`/stop_comfyui.sh all | instance ID | PORT | status | help`."""

import sys

import click

from comfysup.cli.client import API, Client, instance_path
from comfysup.cli.errors import FAILED
from comfysup.cli.output import Instance
from comfysup.cli.scripts.script_args import (
    PATIENCE,
    as_it_stands,
    help_of,
    refuse,
    tell_error,
    told,
    words_argument,
)
from comfysup.cli.scripts.table import instances, show_for_stop


def stop_all(client: Client) -> None:
    """Stop everything and exit; raises `ApiError` when something could not be ended."""
    click.echo("STOP: Stopping all ComfyUI instances...")
    running = [each for each in instances(client) if each["state"] != "stopped"]
    for each in running:
        _announce(each)
    client.post(f"{API}/stop-all")
    for each in running:
        click.echo(f"STOP: Instance {each['id']} stopped")
    click.echo("STOP: All ComfyUI instances stopped")


def stop_ref(client: Client, ref: str) -> None:
    """Stop the instance of that id or name; one that does not run is none to stop."""
    table = instances(client)
    found = [each for each in table if ref in {str(each["id"]), each["name"]}]
    if not found or found[0]["state"] == "stopped":
        click.echo(f"STOP: Instance {ref} is not running or PID file not found")
        if not found:
            known = ", ".join(f"{each['id']} '{each['name']}'" for each in table) or "none"
            click.echo(f"STOP: no instance {ref!r}; there are: {known}", err=True)
        return
    _stop(client, found[0])


def stop_port(client: Client, port: int) -> bool:
    """Stop the instance on that port; False when there is none."""
    found = [each for each in instances(client) if each["port"] == port]
    if not found:
        return False
    stop_ref(client, str(found[0]["id"]))
    return True


def _stop(client: Client, instance: Instance) -> None:
    _announce(instance)
    number = instance["id"]
    now = client.post(instance_path(str(number), "stop"), timeout=PATIENCE)
    if now["state"] != "stopped":
        tell_error("STOP", f"instance {number} is {now['state']} after {PATIENCE} s; it goes on")
        sys.exit(FAILED)
    click.echo(f"STOP: Instance {number} stopped")


def _announce(instance: Instance) -> None:
    pid = f" (PID: {instance['pid']})" if instance["pid"] else ""
    click.echo(f"STOP: Stopping instance {instance['id']}{pid}")


USAGE = """\
usage: /stop_comfyui.sh all              stop all instances
       /stop_comfyui.sh instance ID      stop that instance
       /stop_comfyui.sh PORT             stop the instance on that port
       /stop_comfyui.sh status           show what runs
       /stop_comfyui.sh help             this text"""


@click.command(
    context_settings=as_it_stands,
    help=help_of("Stop one instance or all, or show what runs.", USAGE),
)
@words_argument("COMMAND [ID]")
@told("STOP")
def stop(words: tuple[str, ...]) -> None:
    """Stop one instance or all, or show running instances."""
    match words:
        case [] | ["help"]:
            click.echo(USAGE)
        case ["all"]:
            stop_all(Client())
        case ["status"]:
            show_for_stop(Client())
        case ["instance", ref] if ref:
            stop_ref(Client(), ref)
        case ["instance"] | ["instance", ""]:
            tell_error("STOP", "Instance ID required")
            sys.exit(FAILED)
        case ["instance", *_]:
            refuse("STOP", "one instance ID is expected; nothing was stopped", USAGE)
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
