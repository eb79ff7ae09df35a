"""`comfysup config check` and `comfysup reload`."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comfysup.cli.client import API, Client
from comfysup.cli.commands import SuggestingGroup
from comfysup.cli.errors import FAILED, FailedError, told
from comfysup.cli.file_timeout import Touch, forked
from comfysup.cli.output import json_option, print_json
from comfysup.model.printable import printable

if TYPE_CHECKING:
    from comfysup.config.instances_file import InstancesFile
    from comfysup.config.settings import Settings

DONE = {
    "started": "would start",
    "stopped": "would stop and forget",
    "restarted": "would restart",
    "updated": "would update",
    "left_alone": "would leave alone",
}
"""The results of a reload as in its response, and as a dry run words them."""

SELF_EVIDENT = {
    "unchanged",
    "new in instances.json",
    "a caller started it with the settings of instances.json",
}
"""Reasons of reload results that need no explanation."""


@click.group(cls=SuggestingGroup)
def config() -> None:
    """The settings, and instances.json."""


@config.command()
@click.argument("file", required=False)  # click.Path would access the file here
@json_option
@told
def check(*, file: str | None, as_json: bool) -> None:
    """Check the settings and instances.json.

    With a workspace, the environments that instances.json names are checked too. No daemon is
    needed. Exits with 1 if there is an error.
    """
    from comfysup.config.instances_file import read_instances_file

    touch = _apart()
    touch("a file that a variable names, or the current directory,")
    settings, wrong = _settings()
    path = _absolute(Path(file) if file else settings.instances_file)
    touch(path)
    missing: list[str] = []
    if not _is_there(path):
        if file:
            missing = [f"there is no {path}"]
        else:
            click.echo(f"there is no {path}: no instance starts by itself", err=as_json)
    found = read_instances_file(path, settings)
    unusable = _unusable(found, settings.workspace, touch)
    warnings = _warnings(settings, found)
    if as_json:
        print_json(
            _report(path, found, wrong + missing) | {"environments": unusable, "warnings": warnings}
        )
    else:
        for each in missing:
            click.echo(f"comfysup: {each}", err=True)
        _tell(path, found, wrong)
        for each in unusable:
            click.echo(f"{path}: {each}", err=True)
        for warning in warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
    sys.exit(FAILED if wrong or missing or found.mistakes or unusable else 0)


def _apart() -> Touch:
    """Continue in a child process, whose exit also ends this process."""
    touch, code = forked()
    if touch is None:
        sys.exit(code)
    return touch


def _absolute(path: Path) -> Path:
    """Return the absolute path. Raises `FailedError` if the current directory is unknown."""
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise FailedError(
            f"cannot find {path}: the current directory has been removed; name an absolute path"
        ) from error


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be done, and why; change nothing.")
@json_option
@told
def reload(*, dry_run: bool, as_json: bool) -> None:
    """Read instances.json again and make the instances follow it."""
    wanted = "true" if dry_run else None
    answer = Client(exact=as_json).post(f"{API}/reload", dry_run=wanted)
    if as_json:
        print_json(answer)
    else:
        _tell_reload(answer)
    sys.exit(FAILED if answer["failed"] or answer["mistakes"] else 0)


def _settings() -> "tuple[Settings, list[str]]":
    """Return the settings, with the default for each that is wrong, and the mistakes."""
    from comfysup.config.settings import Settings
    from comfysup.config.variables import SettingsError

    try:
        return Settings.from_environ(os.environ, os.geteuid()), []
    except SettingsError as error:
        return error.partial, list(error.mistakes)


def _is_there(path: Path) -> bool:
    """Return whether a file exists or cannot be examined; reading it then gives the reason."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _unusable(found: "InstancesFile", workspace: Path, touch: Touch) -> list[str]:
    """Return a sentence for each enabled instance that nothing can be started from."""
    from comfysup.comfyui.environment.workspace import Environments
    from comfysup.supervision.protocols import RefusedError

    touch(workspace)
    if not _is_there(workspace):
        return []
    environments, mistakes = Environments(workspace), []
    for entry in found.entries:
        if not entry.enabled:
            continue
        try:
            touch(environments.path(entry.spec.environment))
            problems = "; ".join(environments.find(entry.spec.environment).problems)
        except (RefusedError, OSError) as error:
            problems = str(error)
        if problems:
            mistakes.append(f"line {entry.line}, instance {entry.spec.label}: {problems}")
    return [printable(each) for each in mistakes]


def _warnings(settings: "Settings", found: "InstancesFile") -> list[str]:
    """Return warnings: misspelt variables, and checks that were skipped."""
    warnings = list(settings.warnings)
    if found.entries and not settings.workspace.exists():
        warnings.append(
            f"there is no {settings.workspace}, so no environment was checked; "
            "COMFYSUP_WORKSPACE names the workspace"
        )
    return warnings


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
        click.echo(f"settings: {each}", err=True)
    for mistake in found.mistakes:
        click.echo(f"{path}: {mistake.summary}", err=True)
    for entry in found.entries:
        note = "" if entry.enabled else ", not enabled"
        spec = entry.spec
        click.echo(f"instance {spec.label}: {spec.environment}, port {spec.port}{note}")


def _tell_reload(answer: dict[str, Any]) -> None:
    reasons = {each["id"]: each["reason"] for each in answer["plan"]}
    for what, would in DONE.items():
        verb = would if answer["dry_run"] else what.replace("_", " ")
        for each in answer[what]:
            reason = reasons.get(each["id"], "unchanged")
            tells = answer["dry_run"] or reason not in SELF_EVIDENT
            why = f": {reason}" if tells else ""
            click.echo(f"{verb}: {each['id']} '{each['name']}'{why}")
    if not any(answer[what] for what in (*DONE, "failed", "mistakes")):
        click.echo("instances.json has no instances, and there is nothing to do")
    for each in answer["failed"]:
        click.echo(f"comfysup: {each['id']} '{each['name']}': {each['error']}", err=True)
    for each in answer["mistakes"]:
        click.echo(f"comfysup: line {each['line']}, {each['place']}: {each['text']}", err=True)
    for warning in answer["warnings"]:
        click.echo(f"comfysup: {warning}", err=True)
