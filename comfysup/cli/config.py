"""`comfysup config check` and `comfysup reload`."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comfysup.cli.client import API, Client
from comfysup.cli.errors import FAILED, told
from comfysup.cli.printing import json_option, print_json

if TYPE_CHECKING:
    from comfysup.settings import InstancesFile, Settings

DONE = ("started", "stopped", "restarted", "updated", "left_alone")
"""What a reload can have done, in its answer's words."""


@click.group()
def config() -> None:
    """The settings, and instances.json."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
@told
def check(*, file: Path | None, as_json: bool) -> None:
    """Check the settings and instances.json, without a daemon; exit with 1 and all mistakes."""
    from comfysup.settings import read_instances_file

    settings, wrong = _settings()
    path = (file or settings.instances_file).absolute()
    if not path.exists():
        missing = f"there is no {path}"
        if file or wrong:
            wrong.append(missing)
        else:
            click.echo(f"{missing}, which is fine: nothing is started by itself", err=as_json)
    found = read_instances_file(path, settings)
    if as_json:
        print_json(_report(path, found, wrong))
    else:
        _tell(path, found, wrong)
    sys.exit(FAILED if wrong or found.mistakes else 0)


@click.command()
@json_option
@told
def reload(*, as_json: bool) -> None:
    """Make the daemon read instances.json again and follow it."""
    answer = Client().post(f"{API}/reload")
    if as_json:
        print_json(answer)
    else:
        _tell_reload(answer)
    sys.exit(FAILED if answer["failed"] or answer["mistakes"] else 0)


def _settings() -> "tuple[Settings, list[str]]":
    """The settings and what is wrong with them; the defaults where something is."""
    from comfysup.settings import Settings, SettingsError

    try:
        return Settings.from_environ(os.environ, os.geteuid()), []
    except SettingsError as error:
        return Settings(), list(error.mistakes)


def _report(path: Path, found: "InstancesFile", wrong: list[str]) -> dict[str, Any]:
    return {
        "file": str(path),
        "settings": wrong,
        "mistakes": [asdict(each) for each in found.mistakes],
        "instances": [
            {
                "id": entry.spec.id,
                "name": entry.spec.name,
                "environment": entry.spec.environment,
                "port": entry.spec.port,
                "extra_args": entry.spec.extra_args,
                "enabled": entry.enabled,
            }
            for entry in found.entries
        ],
    }


def _tell(path: Path, found: "InstancesFile", wrong: list[str]) -> None:
    for each in wrong:
        click.echo(f"environment: {each}", err=True)
    for mistake in found.mistakes:
        click.echo(f"{path}: {mistake.summary}", err=True)
    for entry in found.entries:
        note = "" if entry.enabled else ", not enabled"
        spec = entry.spec
        click.echo(f"instance {spec.label}: {spec.environment}, port {spec.port}{note}")


def _tell_reload(answer: dict[str, Any]) -> None:
    for what in DONE:
        for each in answer[what]:
            click.echo(f"{what.replace('_', ' ')}: {each['id']} '{each['name']}'")
    if not any(answer[what] for what in (*DONE, "failed", "mistakes")):
        click.echo("instances.json has no instances, and there is nothing to do")
    for each in answer["failed"]:
        click.echo(f"comfysup: {each['id']} '{each['name']}': {each['error']}", err=True)
    for each in answer["mistakes"]:
        click.echo(f"comfysup: line {each['line']}, {each['place']}: {each['text']}", err=True)
    for warning in answer["warnings"]:
        click.echo(f"comfysup: {warning}", err=True)
