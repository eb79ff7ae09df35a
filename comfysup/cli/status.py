"""`comfysup status`."""

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import told
from comfysup.cli.printing import json_option, on_terminal, print_json


@click.command()
@json_option
@told
def status(*, as_json: bool) -> None:
    """Show all instances."""
    answer = Client().get(f"{API}/status")
    if as_json:
        print_json(answer["instances"])
    elif on_terminal():
        from comfysup.cli.table import print_instances

        print_instances(answer["instances"])
    else:
        click.echo(answer["output"], nl=False)
        return
    for trouble in answer["troubles"]:
        click.secho(f"comfysup {trouble}", fg="red", err=True)
