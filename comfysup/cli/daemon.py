"""`comfysup daemon`."""

import json
import time
from typing import Any

import click

from comfysup.cli.client import API, Client, NotReachableError
from comfysup.cli.commands import SuggestingGroup
from comfysup.cli.errors import FailedError, shown, told
from comfysup.cli.output import json_option, print_json
from comfysup.model.printable import printable

PATIENCE = 60.0
"""Seconds in which a daemon that restarts has answered, on a busy machine too."""


@click.group(cls=SuggestingGroup)
def daemon() -> None:
    """The daemon itself."""


@daemon.command()
@json_option
@shown
def show(*, as_json: bool) -> None:
    """Show version, pid, uptime and settings."""
    facts = Client(exact=as_json).get(f"{API}/daemon")
    if as_json:
        print_json(facts)
        return
    click.echo(_sentence(facts))
    if facts.get("process_handles") == "polling":
        click.echo("The kernel refuses pidfds here: processes are polled.")
    settings = facts["settings"]
    for name, value in settings.items():
        if name != "policy":
            click.echo(f"  {name} = {_shown(value)}")
    click.echo("Policy of an instance that sets nothing else:")
    for name, value in settings["policy"].items():
        click.echo(f"  {name} = {_shown(value)}")


@daemon.command()
@json_option
@told
def restart(*, as_json: bool) -> None:
    """Restart the daemon in place; the instances keep running."""
    client = Client(exact=as_json)
    before = client.get(f"{API}/daemon")["started_at"]
    client.post(f"{API}/daemon/restart")
    facts = _next_life(client, before)
    if as_json:
        print_json(facts)
    else:
        click.echo(_sentence(facts))


def _shown(value: Any) -> str:  # noqa: ANN401 - a setting has the type that it has in JSON
    """Return a setting as JSON writes it, texts without their quotes."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


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
    raise FailedError(f"the restarted daemon did not answer within {PATIENCE:g} s; see its log")


def _sentence(facts: dict[str, Any]) -> str:
    seconds = facts["uptime_seconds"]
    return f"comfysup {facts['version']}, pid {facts['pid']}, up for {seconds:.1f} s"
