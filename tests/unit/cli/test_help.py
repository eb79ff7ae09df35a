"""`--help` of every command."""

from collections.abc import Iterator
from importlib import import_module

import click
import pytest

from comfysup.cli.commands import comfysup


def groups(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Context]]:
    """Return the context of each group, the outermost first."""
    if isinstance(command, click.Group):
        yield context.command_path, context
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from groups(inner, click.Context(inner, parent=context, info_name=name))


GROUPS = dict(groups(comfysup, click.Context(comfysup, info_name="comfysup", terminal_width=80)))


@pytest.mark.parametrize("name", GROUPS)
def test_the_list_of_commands_cuts_no_sentence(name: str) -> None:
    context = GROUPS[name]

    lines = context.command.get_help(context).splitlines()

    assert [line for line in lines if line.endswith("...") and "Usage" not in line] == []


@pytest.mark.parametrize("name", ["start", "stop", "multi"])
def test_the_commands_of_the_scripts_list_their_arguments(name: str) -> None:
    module = import_module(f"comfysup.cli.scripts.{name}")
    context = click.Context(getattr(module, name), info_name=name, terminal_width=80)

    lines = context.command.get_help(context).splitlines()

    assert "WORDS" not in lines[0]
    assert {line.strip() for line in module.USAGE.splitlines()} <= {line.strip() for line in lines}
    assert max(map(len, lines)) <= 80
