"""`comfysup start`, `stop` and `restart`."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from comfysup.cli.client import API, ApiError, Client, instance_path
from comfysup.cli.completion import complete_refs
from comfysup.cli.errors import told
from comfysup.cli.job import Job
from comfysup.cli.printing import Instance, json_option

C = TypeVar("C", bound=Callable[..., None])

SECONDS = click.FloatRange(min=0)


def _of_instances(command: C) -> C:
    """Give a command what all three take: REF or --all, --timeout, and --json."""
    for decorate in (
        json_option,
        click.option(
            "--timeout", type=SECONDS, help="Wait that many seconds at most; it goes on afterwards."
        ),
        click.option("--all", "every", is_flag=True, help="All instances."),
        click.argument("ref", required=False, shell_complete=complete_refs),
    ):
        command = decorate(command)
    return command


_no_wait_option = click.option(
    "--no-wait", "wait", flag_value="spawn", help="Return when its process exists, not when ready."
)
_drain_option = click.option(
    "--drain", type=SECONDS, help="Let the running prompt finish, for that many seconds at most."
)


@click.command()
@_of_instances
@_no_wait_option
@told
def start(*, ref: str | None, every: bool, as_json: bool, **query: Any) -> None:  # noqa: ANN401 - the options of the API
    """Start an instance and wait until it is ready.

    One that the daemon does not know is looked up in instances.json; --all means those that it
    knows and those that are enabled there.
    """
    client = Client()
    refs = _chosen(ref, client, _to_start, every=every)
    goal = "" if query["wait"] else "running"
    Job(ask=partial(_start, client, query), goal=goal, as_json=as_json, many=every).run([refs])


@click.command()
@_of_instances
@_drain_option
@told
def stop(*, ref: str | None, every: bool, as_json: bool, **query: Any) -> None:  # noqa: ANN401 - likewise
    """Stop an instance and wait until nothing of it is left."""
    client = Client()
    refs = _chosen(ref, client, _to_stop, every=every)
    ask = partial(_ask, client, "stop", query)
    Job(ask=ask, goal="stopped", as_json=as_json, many=every).run([refs])


@click.command()
@_of_instances
@_drain_option
@_no_wait_option
@click.option("--rolling", is_flag=True, help="With --all: one after another, while all is well.")
@told
def restart(
    *,
    ref: str | None,
    every: bool,
    as_json: bool,
    rolling: bool,
    **query: Any,  # noqa: ANN401 - likewise
) -> None:
    """Give an instance a new process and wait until it is ready."""
    if rolling and not every:
        raise click.UsageError("--rolling needs --all")
    client = Client()
    refs = _chosen(ref, client, _to_restart, every=every)
    goal = "" if query["wait"] else "running"
    ask = partial(_ask, client, "restart", query)
    job = Job(ask=ask, goal=goal, as_json=as_json, many=every)
    job.run([[each] for each in refs] if rolling else [refs])


def _chosen(
    ref: str | None, client: Client, all_of: Callable[[Client], list[str]], *, every: bool
) -> list[str]:
    if (ref is None) is not every:
        raise click.UsageError("name one instance by its id or name, or say --all")
    return all_of(client) if ref is None else [ref]


def _start(client: Client, query: dict[str, Any], ref: str) -> Instance:
    """Start what the table has, else what instances.json has."""
    try:
        return _ask(client, "start", query, ref)
    except ApiError as error:
        if error.code != "unknown_instance":
            raise
        from comfysup.cli.instances_file import DaemonsFile

        file = DaemonsFile(client)
        return file.start(file.find(ref, error), **query)


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
    return [str(each["id"]) for each in _table(client) if each["state"] != "stopped"]


def _to_restart(client: Client) -> list[str]:
    return [str(each["id"]) for each in _table(client) if each["wanted"]]


def _table(client: Client) -> list[Instance]:
    instances: list[Instance] = client.get(f"{API}/instances")["instances"]
    return instances
