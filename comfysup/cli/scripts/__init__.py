"""`comfysup legacy`: the commands of the shell scripts, with their words, lines and exit codes."""

import click

from comfysup.cli.commands import SuggestingGroup
from comfysup.cli.scripts.multi import multi
from comfysup.cli.scripts.start import start
from comfysup.cli.scripts.stop import stop


@click.group(cls=SuggestingGroup)
def legacy() -> None:
    """Run the commands of the three shell scripts.

    /start_comfyui.sh, /stop_comfyui.sh and /start_comfyui_multi.sh call these commands.
    """


legacy.add_command(start)
legacy.add_command(stop)
legacy.add_command(multi)
