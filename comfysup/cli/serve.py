"""`comfysup serve`. What the daemon needs is imported when it begins, not when help is shown."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from comfysup.cli.lean_imports import lean_imports

if TYPE_CHECKING:
    from comfysup.settings import Settings

USAGE = 2
"""Exit code where the settings are wrong: no new start mends that."""


@click.command()
@click.option("--end", is_flag=True, help="Only end what a daemon that died has left.")
def serve(*, end: bool) -> None:
    """Run the daemon in the foreground."""
    run(read_settings(os.environ), end=end)


def read_settings(environ: Mapping[str, str]) -> "Settings":
    """Return the settings, or say all that is wrong with them and exit."""
    with lean_imports():
        from comfysup.settings import Settings, SettingsError

    try:
        return Settings.from_environ(environ, os.geteuid())
    except SettingsError as error:
        click.echo(f"comfysup: {error}", err=True)
        sys.exit(USAGE)


def run(settings: "Settings", *, end: bool = False) -> None:
    """Run a daemon with these settings and exit as it ends; with 1 when it cannot begin."""
    with lean_imports():
        from comfysup.cli.log_format import configure_logging
        from comfysup.cli.log_stream import LogStream, hold_standard_descriptors
        from comfysup.daemon import Daemon, DaemonError

    hold_standard_descriptors()
    configure_logging(LogStream())
    try:
        sys.exit(Daemon(settings).run(end=end))
    except DaemonError as error:
        sys.exit(f"comfysup: {error}")
