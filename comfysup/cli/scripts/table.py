"""The instances as the scripts show them: those that run, or should."""

import sys
from collections.abc import Sequence

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import FAILED
from comfysup.cli.output import Instance

BROKEN = {"backoff", "failed", "stuck"}
"""States of an instance that should run and does not; `status` exits with 1 then."""


def instances(client: Client) -> list[Instance]:
    found: list[Instance] = client.get(f"{API}/instances")["instances"]
    return found


def show_for_start(client: Client) -> None:
    """`Instance 0: Running (PID: 123, Port: 3001, Environment: comm)`, then exit."""
    shown = [each for each in instances(client) if each["state"] != "stopped"]
    click.echo("=== ComfyUI Instance Status ===\n")
    for each in shown:
        facts = f"Port: {each['port']}, Environment: {each['environment']}"
        state = each["state"].capitalize()
        click.echo(f"Instance {each['id']}: {state} ({_pid(each)}{facts}){_reason(each)}")
    if not shown:
        click.echo("No ComfyUI instances are currently running.")
    _exit(shown)


def show_for_stop(client: Client) -> None:
    """`  Instance 0: RUNNING (PID: 123, Port: 3001)`, then exit."""
    shown = [each for each in instances(client) if each["state"] != "stopped"]
    click.echo("STOP: ComfyUI Instance Status:")
    for each in shown:
        state = each["state"].upper()
        click.echo(
            f"  Instance {each['id']}: {state} ({_pid(each)}Port: {each['port']}){_reason(each)}"
        )
    if not shown:
        click.echo("  No ComfyUI instances found")
    _exit(shown)


def _pid(instance: Instance) -> str:
    return f"PID: {instance['pid']}, " if instance["pid"] else ""


def _reason(instance: Instance) -> str:
    ended = instance["last_exit"]
    return f" - {ended['message']}" if instance["state"] in BROKEN and ended else ""


def _exit(shown: Sequence[Instance]) -> None:
    sys.exit(FAILED if any(each["state"] in BROKEN for each in shown) else 0)
