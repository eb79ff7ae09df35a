"""The lines of a start, and starts of several instances at once."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from comfysup.cli.client import API, ApiError, Client, instance_path
from comfysup.cli.errors import with_hint
from comfysup.cli.output import Instance
from comfysup.cli.requests import Request
from comfysup.cli.scripts.script_args import PATIENCE, tell_error
from comfysup.cli.scripts.table import instances


def announce(name: str, number: int, port: object, environment: str) -> None:
    """Print which instance is about to be started."""
    click.echo(f"COMFYUI: Starting ComfyUI Instance '{name}' (ID: {number}) on port {port}")
    click.echo(f"COMFYUI: Environment: {environment}")


def report(instance: Instance) -> None:
    """Print that an instance has a process, and whether it is still loading."""
    click.echo(f"COMFYUI: Log file: {instance['log_file']}")
    loading = "" if instance["ready"] else ", still loading"
    click.echo(f"COMFYUI: {_what(instance)} Started (PID: {instance['pid']}){loading}")


def start_new(client: Client, body: dict[str, Any]) -> bool:
    """Start the instances of a body and print the results. Return True if none failed."""
    answer = client.post(f"{API}/start-instances", body, timeout=PATIENCE)
    for warning in answer["warnings"]:
        click.echo(f"COMFYUI: {warning}", err=True)
    if not answer["results"]:
        click.echo("COMFYUI: no instance to start")
    table = {each["id"]: each for each in instances(client)}
    well = [_report_result(result, table, answer) for result in answer["results"]]
    return all(well)


def act_on(client: Client, known: Sequence[Instance], verb: str) -> bool:
    """Start or restart known instances and print the results. Return True if none failed."""
    for each in known:
        announce(each["name"], each["id"], each["port"], each["environment"])
    ask = partial(_ask, client, verb)
    requests = [Request(str(each["id"]), ask) for each in known]
    well = [_report_request(*pair) for pair in zip(known, requests, strict=True)]
    return all(well)


def _ask(client: Client, verb: str, ref: str) -> Instance:
    answer: Instance = client.post(instance_path(ref, verb), timeout=PATIENCE)
    return answer


def _report_request(instance: Instance, request: Request) -> bool:
    try:
        report(request.result())
    except ApiError as error:
        tell_error("COMFYUI", f"{_what(instance)}: {with_hint(error)}")
        return False
    return True


def _report_result(
    result: dict[str, Any], table: dict[int, Instance], answer: dict[str, Any]
) -> bool:
    instance = table.get(result["instance_id"])
    environment = instance["environment"] if instance else answer["environment"]
    announce(result["name"], result["instance_id"], result["port"], environment)
    if instance and result["status"] in {"started", "timeout"}:
        report(instance)
        return True
    what = _what({"id": result["instance_id"], "name": result["name"]})
    tell_error("COMFYUI", f"{what}: {result['error']}")
    return False


def _what(instance: Instance) -> str:
    return f"ComfyUI Instance '{instance['name']}' (ID: {instance['id']})"
