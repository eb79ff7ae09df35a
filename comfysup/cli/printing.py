"""What commands print: JSON for programs, sentences for people. Pipes get no colours."""

import json
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

import click

Instance: TypeAlias = Mapping[str, Any]
"""An instance as the daemon shows it."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(data: object) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def on_terminal() -> bool:
    return sys.stdout.isatty()


def label(instance: Instance) -> str:
    """How sentences name it: `0 'main'`."""
    return f"{instance['id']} '{instance['name']}'"


def sentence(instance: Instance) -> str:
    """Say in one line how it is with an instance."""
    where = f"on port {instance['port']}, pid {instance['pid']}"
    match instance["state"]:
        case "running":
            what = f"is {click.style('ready', fg='green')} {where}"
            if instance["startup_seconds"] is not None:
                what += f", after {instance['startup_seconds']:.1f} s"
        case "starting" if instance["pid"]:
            what = f"is still {click.style('loading', fg='cyan')} {where}"
        case "stopped":
            what = "stopped"
        case state:
            what = f"is {click.style(state, fg='yellow')}"
    return f"Instance {label(instance)} {what}"
