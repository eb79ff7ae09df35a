"""`comfysup daemon`."""

import time
from typing import Any

import click

from comfysup.cli.client import API, Client, NotReachableError
from comfysup.cli.errors import FailedError, told
from comfysup.cli.printing import json_option, print_json

PATIENCE = 20.0
"""Seconds in which a daemon that starts anew has answered."""


@click.group()
def daemon() -> None:
    """The daemon itself."""


@daemon.command()
@json_option
@told
def show(*, as_json: bool) -> None:
    """Show version, pid, uptime and settings."""
    facts = Client().get(f"{API}/daemon")
    if as_json:
        print_json(facts)
        return
    click.echo(_sentence(facts))
    for name, value in facts["settings"].items():
        click.echo(f"  {name} = {value}")


@daemon.command()
@json_option
@told
def restart(*, as_json: bool) -> None:
    """Start the daemon anew in place; no instance notices."""
    client = Client()
    before = client.get(f"{API}/daemon")["started_at"]
    client.post(f"{API}/daemon/restart")
    facts = _next_life(client, before)
    if as_json:
        print_json(facts)
    else:
        click.echo(_sentence(facts))


def _next_life(client: Client, before: str) -> dict[str, Any]:
    """Ask until another life of the daemon answers."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            facts: dict[str, Any] = client.get(f"{API}/daemon")
        except NotReachableError:
            facts = {"started_at": before}
        if facts["started_at"] != before:
            return facts
        time.sleep(0.05)
    raise FailedError(f"cannot see the new daemon after {PATIENCE:g} s; its log says more")


def _sentence(facts: dict[str, Any]) -> str:
    seconds = facts["uptime_seconds"]
    return f"comfysup {facts['version']}, pid {facts['pid']}, up for {seconds:.1f} s"
