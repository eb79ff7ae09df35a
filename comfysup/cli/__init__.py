"""The command line: a file for each group of commands."""

import sys


def main() -> None:
    """Run one command and exit with its code.

    `health` comes before everything else: it is run every few seconds, for ever, and must not wait
    for the imports of the others.
    """
    if sys.argv[1:2] == ["health"]:
        from comfysup.cli import health

        sys.exit(health.main(sys.argv[2:]))
    from comfysup.cli.commands import comfysup

    comfysup(prog_name="comfysup")
