"""`comfysup completion`, and what the shell is offered for references and environments."""

import click
from click.shell_completion import CompletionItem, get_completion_class

from comfysup.cli.errors import FailedError, shown

VARIABLE = "_COMFYSUP_COMPLETE"
"""The variable by which click's completion scripts call this program."""


HELP = """Print the script that enables shell completion.

\b
bash:  eval "$(comfysup completion bash)"           in ~/.bashrc
zsh:   eval "$(comfysup completion zsh)"            in ~/.zshrc
fish:  comfysup completion fish | source            in ~/.config/fish/config.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@shown
def completion(context: click.Context, shell: str) -> None:
    script = get_completion_class(shell)
    if script is None:
        raise FailedError(f"cannot complete for {shell}: click does not know it")
    click.echo(script(context.find_root().command, {}, "comfysup", VARIABLE).source())


def complete_refs(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Names first, and ids for those who begin with a digit; nothing without a daemon."""
    instances = _asked("instances")
    if begun[:1].isdigit():
        ids = [CompletionItem(str(each["id"]), help=each["name"]) for each in instances]
        return [item for item in ids if item.value.startswith(begun)]
    names = [CompletionItem(each["name"], help=each["state"]) for each in instances]
    return [item for item in names if item.value.startswith(begun)]


def complete_environments(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    names = [CompletionItem(each["name"]) for each in _asked("environments")]
    return [item for item in names if item.value.startswith(begun)]


def _asked(noun: str) -> list[dict[str, str]]:
    from comfysup.cli.client import API, ApiError, Client, NotReachableError

    try:
        found: list[dict[str, str]] = Client().get(f"{API}/{noun}")[noun]
    except (ApiError, NotReachableError):
        return []
    return found
