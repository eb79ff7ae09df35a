"""The command line: a file for each group of commands."""

import sys
from typing import Final

INTERRUPTED: Final = 130
"""The exit code of a command that SIGINT ended, as of a shell."""


def main() -> None:
    """Run one command and exit with its code.

    Ctrl-C during the imports ends it without a traceback; later, each command handles it.
    """
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    """Run the command.

    `health` is handled first: it runs every few seconds and must not wait for the imports of the
    other commands.
    """
    if sys.argv[1:2] == ["health"]:
        from comfysup.cli import health

        sys.exit(health.main(sys.argv[2:]))
    from comfysup.cli.output import protect_streams

    protect_streams()
    from comfysup.cli.commands import comfysup
    from comfysup.cli.errors import check_output

    with check_output():
        comfysup(prog_name="comfysup")
