"""`comfysup start`, `stop`, `restart` and `rm`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from comfysup.cli.bulk_action import Job
from comfysup.cli.client import API, ApiError, Client, instance_path
from comfysup.cli.errors import told
from comfysup.cli.output import Instance, json_option, label
from comfysup.cli.references import check_choice, references_argument
from comfysup.cli.times import Seconds

C = TypeVar("C", bound=Callable[..., None])

SECONDS = Seconds()


def _of_instances(command: C) -> C:
    """Add the options that all three commands take: REF... or --all, --timeout, and --json."""
    for decorate in (
        json_option,
        click.option(
            "--timeout",
            type=SECONDS,
            metavar="SECONDS",
            help="Wait at most this long; the operation continues.",
        ),
        click.option("--all", "every", is_flag=True, help="All instances."),
        references_argument(required=False),
    ):
        command = decorate(command)
    return command


_no_wait_option = click.option(
    "--no-wait",
    "wait",
    flag_value="spawn",
    help="Return once the process exists, not when it is ready.",
)
_drain_option = click.option(
    "--drain",
    type=SECONDS,
    metavar="SECONDS",
    help="Let the running prompt finish first, for at most this long.",
)


def _drop_running(context: click.Context, _parameter: click.Parameter, chosen: object) -> None:
    """Select `waiting`. Raises `click.UsageError` if it contradicts --rescue."""
    if not chosen:
        return
    if context.params["rescue"] not in (None, "waiting"):
        raise click.UsageError("--drop-running is --rescue waiting: leave one of them out")
    context.params["rescue"] = "waiting"


def _rescue_options(command: C) -> C:
    """Give a command the choice of the prompts that the next process is given."""
    for decorate in (
        click.option(
            "--drop-running",
            is_flag=True,
            expose_value=False,
            callback=_drop_running,
            help="Give up the running prompt, for example one that hangs: --rescue waiting.",
        ),
        click.option(
            "--rescue",
            type=click.Choice(["all", "waiting", "none"]),
            is_eager=True,
            help="Prompts that the next process receives; by default those of the policy.",
        ),
    ):
        command = decorate(command)
    return command


@click.command()
@_of_instances
@_rescue_options
@_no_wait_option
@told
def start(*, refs: tuple[str, ...], every: bool, as_json: bool, **query: Any) -> None:  # noqa: ANN401 - the options of the API
    """Start instances and wait until they are ready.

    An instance that is not in the daemon's table is read from instances.json. --all means the table
    and the enabled entries of the file.
    """
    client = Client(exact=as_json)
    chosen = _chosen(refs, client, _to_start, every=every)
    goal = "" if query["wait"] else "running"
    ask = partial(_start, client, query)
    Job(ask=ask, goal=goal, as_json=as_json, many=every or len(refs) > 1).run([chosen])


@click.command()
@_of_instances
@_rescue_options
@_drain_option
@told
def stop(*, refs: tuple[str, ...], every: bool, as_json: bool, **query: Any) -> None:  # noqa: ANN401 - likewise
    """Stop instances and wait for their processes to end."""
    client = Client(exact=as_json)
    chosen = _chosen(refs, client, _to_stop, every=every)
    ask = partial(_ask, client, "stop", query)
    Job(ask=ask, goal="stopped", as_json=as_json, many=every or len(refs) > 1).run([chosen])


@click.command()
@_of_instances
@_rescue_options
@_drain_option
@_no_wait_option
@click.option(
    "--rolling", is_flag=True, help="Restart one after another; end at the first failure."
)
@told
def restart(
    *,
    refs: tuple[str, ...],
    every: bool,
    as_json: bool,
    rolling: bool,
    **query: Any,  # noqa: ANN401 - likewise
) -> None:
    """Restart instances and wait until they are ready."""
    if rolling and not every and len(refs) == 1:
        raise click.UsageError("--rolling needs --all or several instances")
    client = Client(exact=as_json)
    chosen = _chosen(refs, client, _to_restart, every=every)
    goal = "" if query["wait"] else "running"
    ask = partial(_ask, client, "restart", query)
    job = Job(ask=ask, goal=goal, as_json=as_json, many=every or len(refs) > 1)
    job.run(one_by_one(client, chosen) if rolling else [chosen])


@click.command()
@references_argument(required=True)
@json_option
@told
def rm(*, refs: tuple[str, ...], as_json: bool) -> None:
    """Stop instances and remove them from the daemon's table.

    Logs are kept. Instances in instances.json can be started again.
    """
    client = Client(exact=as_json)

    def remove(ref: str) -> Instance:
        answer: Instance = client.delete(instance_path(ref))
        return answer

    Job(
        ask=remove,
        goal="stopped",
        as_json=as_json,
        many=len(refs) > 1,
        describe=lambda instance: f"Instance {label(instance)} removed",
    ).run([refs])


def _chosen(
    refs: Sequence[str], client: Client, all_of: Callable[[Client], list[str]], *, every: bool
) -> Sequence[str]:
    check_choice(refs, every=every)
    return refs or all_of(client)


def one_by_one(client: Client, refs: Sequence[str]) -> Iterator[list[str]]:
    """Yield each reference in turn; skip those that were stopped or removed in the meantime."""
    at_first = _wanted(client)
    for ref in refs:
        if ref not in at_first or ref in _wanted(client):
            yield [ref]


def _wanted(client: Client) -> set[str]:
    """Return the ids and names of all instances that are meant to run."""
    return {
        word
        for each in _table(client)
        if each["wanted"]
        for word in (str(each["id"]), each["name"])
    }


def _start(client: Client, query: dict[str, Any], ref: str) -> Instance:
    """Start an instance of the table, or else of instances.json."""
    try:
        return _ask(client, "start", query, ref)
    except ApiError as error:
        if error.code != "unknown_instance":
            raise
        from comfysup.cli.instances_file import DaemonsFile

        file = DaemonsFile(client)
        # An instance that the daemon does not know has no prompts to choose from.
        more = {name: value for name, value in query.items() if name != "rescue"}
        return file.start(file.find(ref, error), **more)


def _ask(client: Client, verb: str, query: dict[str, Any], ref: str) -> Instance:
    answer: Instance = client.post(instance_path(ref, verb), **query)
    return answer


def _to_start(client: Client) -> list[str]:
    from comfysup.cli.instances_file import DaemonsFile

    known = [str(each["id"]) for each in _table(client)]
    return known + [
        str(spec.id) for spec in DaemonsFile(client).enabled if str(spec.id) not in known
    ]


def _to_stop(client: Client) -> list[str]:
    """Return the running instances and those that autolaunch has yet to start."""
    pending = client.get(f"{API}/daemon").get("autolaunch_pending", [])
    known = {each["id"]: each["state"] for each in _table(client)}
    live = [number for number, state in known.items() if state != "stopped"]
    return [str(number) for number in (*live, *(each for each in pending if each not in known))]


def _to_restart(client: Client) -> list[str]:
    return [str(each["id"]) for each in _table(client) if each["wanted"]]


def _table(client: Client) -> list[Instance]:
    instances: list[Instance] = client.get(f"{API}/instances")["instances"]
    return instances
