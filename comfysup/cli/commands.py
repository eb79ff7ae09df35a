"""The group of all commands, which are imported on use; unknown commands get a suggestion."""

from importlib import import_module
from typing import Final

import click
from typing_extensions import override


class SuggestingGroup(click.Group):
    """A group whose error for an unknown command lists the known ones."""

    @override
    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(context)
        if words and words[0] not in known and not words[0].startswith("-"):
            from comfysup.cli.references import nearest

            near = nearest(words[0], known)
            hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(known)}"
            context.fail(f"no command {words[0]!r}; {hint}")
        return super().resolve_command(context, words)


COMMANDS: Final = {
    "serve": "serve",
    "demo": "demo",
    "health": "status",
    "status": "status",
    "start": "instances",
    "stop": "instances",
    "restart": "instances",
    "rm": "instances",
    "logs": "logs",
    "events": "events",
    "env": "environments",
    "config": "config",
    "reload": "config",
    "daemon": "daemon",
    "legacy": "scripts",
    "completion": "completion",
}
"""Module of each command, in this package; the attribute has the command's name."""


class Commands(SuggestingGroup):
    """A group whose commands are imported on use."""

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
    2 wrong usage, 3 daemon not reachable.
    """
