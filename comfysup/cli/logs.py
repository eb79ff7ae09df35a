"""`comfysup logs`."""

import sys

import click

from comfysup.cli.client import Client, instance_path
from comfysup.cli.completion import complete_refs
from comfysup.cli.errors import told

MAX_LINES = 10_000_000


@click.command()
@click.argument("ref", shell_complete=complete_refs)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, MAX_LINES),
    default=200,
    show_default=True,
    help="How many of the last lines.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@told
def logs(*, ref: str, lines: int, follow: bool) -> None:
    """Print the log of an instance."""
    query = {"lines": lines, "follow": "true" if follow else None}
    with Client().stream(instance_path(ref, "logs"), **query) as pieces:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
