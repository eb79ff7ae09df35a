"""`comfysup logs`."""

import sys
from collections.abc import Iterator, Mapping

import click

from comfysup.cli.client import API, ApiError, Client, NotReachableError, instance_path
from comfysup.cli.errors import FAILED, NOT_REACHABLE, FailedError, shown, tell
from comfysup.cli.log_lines import EVERY_LINE, LinePrinter, Span, batches_of, heading_before
from comfysup.cli.output import ExitWith, Instance, reader_left
from comfysup.cli.references import check_choice, references_argument, with_suggestion
from comfysup.cli.streams import Event, follow, merged, reconnect_option
from comfysup.cli.times import Whole, moment_option
from comfysup.model.printable import printable

DEFAULT_LINES = 200

REMOVED = "removed"
"""The last event of a log, when its instance is removed."""


@click.command()
@references_argument(required=False)
@click.option("--all", "every", is_flag=True, help="The logs of all instances.")
@click.option(
    "-n",
    "--lines",
    type=Whole(0, EVERY_LINE),
    metavar="N",
    help=f"Print the last N lines of each.  [default: {DEFAULT_LINES}]",
)
@moment_option(
    "--since",
    help="Begin with the process that ran at that time: 10m, 2h, 1d, or 2026-01-31T12:00Z. "
    "The log records the time of each start, not of each line.",
)
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Print new lines as they come, until Ctrl-C."
)
@reconnect_option
@shown
def logs(
    *,
    refs: tuple[str, ...],
    every: bool,
    lines: int | None,
    since: float | None,
    following: bool,
    reconnect: float,
) -> None:
    """Print the logs of instances.

    With several, each line begins with the name of its instance. -f continues over a restart of
    the daemon, and ends when the instance is removed.
    """
    if lines is not None and since is not None:
        raise click.UsageError("-n and --since both say where to begin; give one of them")
    client = Client()
    names = _names(client, refs, every=every)
    printer = LinePrinter(list(names.values()) if every or len(names) > 1 else [])
    count = EVERY_LINE if since is not None else DEFAULT_LINES if lines is None else lines
    spans = {
        ref: Span(count, None if since is None else heading_before(client, ref, since))
        for ref in names
    }
    if following:
        _follow(client, names, spans, printer, reconnect)
    else:
        for ref, name in names.items():
            for batch in batches_of(client, ref, count):
                printer.lines(name, spans[ref].within(batch))
                if reader_left(sys.stdout):
                    return


def _names(client: Client, refs: tuple[str, ...], *, every: bool) -> dict[str, str]:
    """Return the names of the chosen instances by id; raises `ApiError`."""
    check_choice(refs, every=every)
    if every:
        instances = client.get(f"{API}/instances")["instances"]
        if not instances:
            raise FailedError("there are no instances")
        return {str(each["id"]): each["name"] for each in instances}
    found = [_instance(client, ref) for ref in refs]
    return {str(each["id"]): each["name"] for each in found}


def _instance(client: Client, ref: str) -> Instance:
    try:
        instance: Instance = client.get(instance_path(ref))
    except ApiError as error:
        raise with_suggestion(error, ref) from None
    return instance


def _follow(
    client: Client,
    names: Mapping[str, str],
    spans: Mapping[str, Span],
    printer: LinePrinter,
    reconnect: float,
) -> None:
    """Print new lines of all logs until none can be followed any longer."""
    streams = {
        ref: _until_removed(
            follow(
                client,
                instance_path(ref, "logs"),
                reconnect=reconnect,
                tells=place == 0,
                lines=spans[ref].lines,
            )
        )
        for place, ref in enumerate(names)
    }
    code = 0
    for ref, what in merged(streams):
        match what:
            case Event(name="message"):
                printer.lines(names[ref], spans[ref].within(what.data.split("\n")))
            case Event(name=name) if name == REMOVED:
                click.echo(f"comfysup: {printable(what.data)}; its log ends here", err=True)
            case Event():
                printer.progress(what.data)
            case NotReachableError() | ApiError():
                tell(what)
                code = max(code, NOT_REACHABLE if isinstance(what, NotReachableError) else FAILED)
            case _:
                raise what
    if code:
        raise ExitWith(code)


def _until_removed(events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events of one log up to the removal of its instance."""
    for event in events:
        yield event
        if event.name == REMOVED:
            return
