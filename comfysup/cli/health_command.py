"""`comfysup health` for the help and the completion; what runs it comes before click."""

import click

from comfysup.cli.health import main


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def health(arguments: tuple[str, ...]) -> None:
    """Exit with 0 when the daemon works, with 1 when it does not."""
    raise SystemExit(main(arguments))
