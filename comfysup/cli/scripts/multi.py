"""`/start_comfyui_multi.sh`: the instances of instances.json, or of an argument, at once."""

import re
import sys
from typing import Final

import click

from comfysup.cli.client import ApiError, Client, instance_path
from comfysup.cli.errors import FAILED
from comfysup.cli.scripts.script_args import (
    as_it_stands,
    help_of,
    refuse,
    tell_error,
    told,
    words_argument,
)
from comfysup.cli.scripts.starting import act_on, start_new
from comfysup.cli.scripts.stop import stop_all, stop_ref
from comfysup.cli.scripts.table import instances, show_for_start

USAGE = """\
usage: /start_comfyui_multi.sh COMMAND

  start              start the enabled instances of instances.json
  stop               stop all instances
  restart            restart what runs; start what is enabled
  status             show what runs
  start-by-name N    start the instance of that name
  stop-by-name N     stop the instance of that name
  start-ports A-B    start an instance on each of these ports
  json 'CFG'         start the instances of that configuration
  help               this text"""

MOST_PORTS: Final = 64
"""More of them in one command were mistyped."""

_PORTS = re.compile("([0-9]{1,5})-([0-9]{1,5})")


@click.command(
    context_settings=as_it_stands,
    help=help_of("Start and stop what instances.json or a configuration names.", USAGE),
)
@words_argument("COMMAND [ARGUMENT]")
@told("COMFYUI")
def multi(words: tuple[str, ...]) -> None:
    """Start and stop instances of a file or of a configuration."""
    match words:
        case [] | ["help"]:
            click.echo(USAGE)
        case ["status"]:
            show_for_start(Client())
        case ["start"]:
            _exit(well=_start_enabled(Client()))
        case ["stop"]:
            stop_all(Client())
        case ["restart"]:
            _exit(well=_restart(Client()))
        case ["start-by-name", name] if name:
            _exit(well=_start_by_name(Client(), name))
        case ["stop-by-name", name] if name:
            stop_ref(Client(), name)
        case ["start-ports", ports] if (found := _PORTS.fullmatch(ports)) and _is_range(found):
            _exit(well=_start_ports(Client(), range(int(found[1]), int(found[2]) + 1)))
        case ["start-ports", ports]:
            allowed = f"they must be A-B, from the lower to the higher, at most {MOST_PORTS}"
            refuse("COMFYUI", f"cannot use the ports {ports!r}: {allowed}; nothing was done", USAGE)
        case ["json", text] if text:
            _exit(well=_start_configured(Client(), text))
        case _:
            refuse("COMFYUI", f"cannot do {' '.join(words)!r}; nothing was done", USAGE)


def _is_range(found: re.Match[str]) -> bool:
    return 0 <= int(found[2]) - int(found[1]) < MOST_PORTS


def _exit(*, well: bool) -> None:
    sys.exit(0 if well else FAILED)


def _start_enabled(client: Client, *, but: frozenset[int] = frozenset()) -> bool:
    """Start the enabled instances of instances.json except `but`. Also prints the file's errors."""
    from comfysup.cli.instances_file import DaemonsFile, body_of

    file = DaemonsFile(client)
    for mistake in file.mistakes:
        tell_error("COMFYUI", f"{file.path}: {mistake}")
    bodies = [body_of(spec) for spec in file.enabled if spec.id not in but]
    if not bodies:
        if not but:
            click.echo(f"COMFYUI: no instance is enabled in {file.path}")
        return not file.mistakes
    return start_new(client, {"instances": bodies}) and not file.mistakes


def _start_configured(client: Client, text: str) -> bool:
    from comfysup.cli.scripts.start import configuration

    return start_new(client, configuration(text))


def _restart(client: Client) -> bool:
    known = [each for each in instances(client) if each["wanted"]]
    restarted = act_on(client, known, "restart")
    return _start_enabled(client, but=frozenset(each["id"] for each in known)) and restarted


def _start_by_name(client: Client, name: str) -> bool:
    from comfysup.cli.instances_file import DaemonsFile, body_of

    try:
        known = client.get(instance_path(name))
    except ApiError as unknown:
        if unknown.code != "unknown_instance":
            raise
        spec = DaemonsFile(client).find(name, unknown)
        return start_new(client, {"instances": [body_of(spec)]})
    return act_on(client, [known], "start")


def _start_ports(client: Client, ports: range) -> bool:
    """Start on each port the instance of the table, that of instances.json, or a new one."""
    from comfysup.cli.instances_file import DaemonsFile
    from comfysup.cli.scripts.start import for_ports

    known = [each for each in instances(client) if each["port"] in ports]
    others = [port for port in ports if port not in {each["port"] for each in known}]
    bodies = for_ports(DaemonsFile(client), others)
    well = act_on(client, known, "start")
    return (not bodies or start_new(client, {"instances": bodies})) and well
