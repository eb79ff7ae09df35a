"""The group that all commands but `health` hang on; each is imported when it is needed."""

from importlib import import_module
from typing import Final

import click
from typing_extensions import override

COMMANDS: Final = {
    "serve": "serve",
    "demo": "demo",
    "health": "health_command",
    "status": "status",
    "start": "instances",
    "stop": "instances",
    "restart": "instances",
    "logs": "logs",
    "events": "events",
    "env": "environments",
    "config": "config",
    "reload": "config",
    "daemon": "daemon",
    "legacy": "legacy",
    "completion": "completion",
}
"""Where each command is: a module here, whose attribute of the same name it is."""


class Commands(click.Group):
    """A group whose commands are in modules that are imported one by one."""

    @override
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"comfysup.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="comfysup")
def comfysup() -> None:
    """Start, watch, restart and stop ComfyUI instances.

    REF is an instance's id or name. Exit codes: 0 done or healthy, 1 failed or unhealthy,
    2 wrong usage, 3 no daemon answers.
    """
