"""`comfysup legacy`: the commands of the shell scripts, with their words, lines and exit codes."""

import click

from comfysup.cli.legacy.multi import multi
from comfysup.cli.legacy.start import start
from comfysup.cli.legacy.stop import stop


@click.group()
def legacy() -> None:
    """What stands behind /start_comfyui.sh, /stop_comfyui.sh and /start_comfyui_multi.sh."""


legacy.add_command(start)
legacy.add_command(stop)
legacy.add_command(multi)
