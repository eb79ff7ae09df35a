"""`comfysup env`."""

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

import click

from comfysup.cli.client import API, Client
from comfysup.cli.completion import complete_environments
from comfysup.cli.errors import FAILED, FailedError, told
from comfysup.cli.printing import json_option, on_terminal, print_json

Environment: TypeAlias = Mapping[str, Any]
"""An environment as the daemon shows it."""


@click.group()
def env() -> None:
    """The environments that instances are started from."""


@env.command("list")
@json_option
@told
def list_environments(*, as_json: bool) -> None:
    """Show all environments of the workspace."""
    client = Client()
    found = _environments(client)
    if as_json:
        print_json(found)
    elif not found:
        workspace = client.get(f"{API}/daemon")["settings"]["workspace"]
        click.echo(f"No environments: there is no ComfyUI-<name> in {workspace}")
    elif on_terminal():
        from comfysup.cli.table import print_environments

        print_environments(found)
    else:
        for each in found:
            state = "usable" if each["usable"] else "unusable"
            versions = (each[f"{part}_version"] or "-" for part in ("comfyui", "python", "torch"))
            click.echo("\t".join((each["name"], state, *versions, each["path"])))


@env.command()
@click.argument("name", required=False, shell_complete=complete_environments)
@json_option
@told
def check(*, name: str | None, as_json: bool) -> None:
    """Say what is wrong with one environment, or with all; exit with 1 if one is not usable."""
    found = _environments(Client())
    chosen = [each for each in found if name in {None, each["name"]}]
    if not chosen:
        known = ", ".join(each["name"] for each in found) or "none"
        what = f"no environment {name!r}" if name else "no environment at all"
        raise FailedError(f"{what}; there are: {known}")
    if as_json:
        print_json(chosen)
    else:
        for each in chosen:
            _tell(each)
    sys.exit(0 if all(each["usable"] for each in chosen) else FAILED)


@env.command()
@click.argument("name", shell_complete=complete_environments)
@json_option
@told
def link(*, name: str, as_json: bool) -> None:
    """Move an environment's models to shared-models and link them; exit with 1 if some are left."""
    answer = Client().post(f"{API}/environments/{quote(name, safe='')}/link")
    if as_json:
        print_json(answer)
    else:
        _tell_link(answer)
    sys.exit(0 if answer["linked"] else FAILED)


def _tell_link(answer: Mapping[str, Any]) -> None:
    for heading in ("done", "moved", "aside"):
        for each in answer[heading]:
            click.echo(f"{heading}: {each}")
    for left in answer["left"]:
        click.echo(f"comfysup: left {left['path']}: {left['reason']}", err=True)
    verdict = "linked" if answer["linked"] else "not linked"
    click.echo(f"{answer['environment']}: its models are {verdict} to shared-models")


def _environments(client: Client) -> list[Environment]:
    found: list[Environment] = client.get(f"{API}/environments")["environments"]
    return found


def _tell(each: Environment) -> None:
    verdict = (
        click.style("usable", fg="green") if each["usable"] else click.style("unusable", fg="red")
    )
    click.echo(f"{each['name']}: {verdict} ({each['path']})")
    for problem in each["problems"]:
        click.echo(f"  problem: {problem}")
    for note in each["notes"]:
        click.echo(f"  note: {note}")
