"""`comfysup env`."""

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

import click

from comfysup.cli.client import API, Client, quoted
from comfysup.cli.commands import SuggestingGroup
from comfysup.cli.errors import FAILED, FailedError, shown, told
from comfysup.cli.output import json_option, on_terminal, print_json
from comfysup.cli.references import environment_argument
from comfysup.model.printable import printable_line

Environment: TypeAlias = Mapping[str, Any]
"""An environment as the daemon shows it."""


@click.group(cls=SuggestingGroup)
def env() -> None:
    """The environments that instances are started from."""


@env.command("list")
@json_option
@shown
def list_environments(*, as_json: bool) -> None:
    """Show all environments of the workspace."""
    client = Client(exact=as_json)
    found = _environments(client)
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"No environments: {_none_there(client)}")
    elif on_terminal():
        from comfysup.cli.tables import print_environments

        print_environments(found)
    else:
        for each in found:
            state = "usable" if each["usable"] else "unusable"
            versions = (each[f"{part}_version"] or "-" for part in ("comfyui", "python", "torch"))
            cells = (each["name"], state, *versions, each["path"])
            click.echo("\t".join(map(printable_line, cells)))


@env.command()
@environment_argument(required=False)
@json_option
@told
def check(*, name: str | None, as_json: bool) -> None:
    """Check one environment, or all.

    Exits with 1 if one is unusable.
    """
    client = Client(exact=as_json)
    found = _environments(client)
    if not found:
        raise FailedError(_none_there(client))
    chosen = [each for each in found if name in {None, each["name"]}]
    if not chosen:
        known = ", ".join(each["name"] for each in found)
        raise FailedError(f"no environment {name!r}; there are: {known}")
    if as_json:
        print_json(chosen)
    else:
        for each in chosen:
            _tell(each)
    sys.exit(0 if all(each["usable"] for each in chosen) else FAILED)


@env.command()
@environment_argument(required=True)
@json_option
@told
def link(*, name: str, as_json: bool) -> None:
    """Move an environment's models to shared-models and link them.

    Exits with 1 if a file could not be moved.
    """
    answer = Client(exact=as_json).post(f"{API}/environments/{quoted(name)}/link")
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


def _none_there(client: Client) -> str:
    """Return that there are no environments, and where the daemon looked for them."""
    workspace = client.get(f"{API}/daemon")["settings"]["workspace"]
    return f"there is no ComfyUI-<name> in {workspace}"


def _tell(each: Environment) -> None:
    verdict = (
        click.style("usable", fg="green") if each["usable"] else click.style("unusable", fg="red")
    )
    click.echo(f"{each['name']}: {verdict} ({each['path']})")
    for problem in each["problems"]:
        click.echo(f"  problem: {problem}")
    for note in each["notes"]:
        click.echo(f"  note: {note}")
