"""`comfysup status`, and `comfysup health` as the help and the completion show it."""

import click

from comfysup.cli.client import API, ApiError, Client
from comfysup.cli.errors import FAILED, shown, tell
from comfysup.cli.health import main
from comfysup.cli.output import ExitWith, Instance, json_option, on_terminal, print_json
from comfysup.cli.references import references_argument, with_suggestion
from comfysup.model.printable import printable


@click.command()
@references_argument(required=False)
@json_option
@shown
def status(*, refs: tuple[str, ...], as_json: bool) -> None:
    """Show all instances, or only the named ones.

    The reason why an instance does not run is shown below it. The exit code is 0 in every state;
    use `comfysup health --ready` to check the state.
    """
    answer = Client(exact=as_json).get(f"{API}/status")
    chosen, unknown = _chosen(answer["instances"], refs)
    if as_json:
        print_json(chosen)
    elif not refs and not on_terminal():
        click.echo(answer["output"], nl=False)
    elif chosen or not refs:
        from comfysup.cli.tables import print_instances

        print_instances(chosen)
    if on_terminal() or as_json:
        for trouble in answer["troubles"]:
            click.secho(f"comfysup {printable(trouble)}", fg="red", err=True)
    for error in unknown:
        tell(error)
    if unknown:
        raise ExitWith(FAILED)


def _chosen(
    instances: list[Instance], refs: tuple[str, ...]
) -> tuple[list[Instance], list[ApiError]]:
    """Return the named instances (all without names), and an error for each unknown one."""
    if not refs:
        return instances, []
    known = {name: each for each in instances for name in (each["name"], str(each["id"]))}
    labels = ", ".join(f"{each['id']} '{each['name']}'" for each in instances) or "none"
    chosen = {known[ref]["id"]: known[ref] for ref in refs if ref in known}
    unknown = [
        with_suggestion(
            ApiError(404, f"no instance {ref!r}; there are: {labels}", "unknown_instance"), ref
        )
        for ref in refs
        if ref not in known
    ]
    return list(chosen.values()), unknown


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def health(arguments: tuple[str, ...]) -> None:
    """Exit with 0 when the daemon works, with 1 when it does not."""
    raise SystemExit(main(arguments))
