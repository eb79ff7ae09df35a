"""`comfysup demo`: a daemon on a workspace that is gone when it ends."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from comfysup.cli.serve import read_settings, run

WORKSPACE = "COMFYSUP_DEMO_WORKSPACE"
"""Passes the workspace on when the daemon starts anew in place."""

ENVIRONMENTS = ("comm", "aua-sp")

GREETING = """\
comfysup demo: two environments, {environments}, with a stand-in for ComfyUI in each.

  comfysup status                       in another terminal; or
  curl {url}/api/comfyui/status
  curl -X POST {url}/api/comfyui/start-single \\
    -H 'Content-Type: application/json' -d '{{"id": 0, "port": 3001, "name": "main"}}'

Ctrl-C ends it and removes {workspace}.
"""


@click.command()
def demo() -> None:
    """Run the daemon on a throw-away workspace with two stand-in environments.

    Everything can be tried with it on a machine without ComfyUI. It serves this machine only,
    unless COMFYSUP_HOST says more.
    """
    from comfysup.standin.workspace import build_environment

    environ = {"COMFYSUP_HOST": "127.0.0.1", **os.environ}
    workspace = _workspace()
    try:
        settings = read_settings(environ)
        for name in ENVIRONMENTS:
            build_environment(workspace, name)
        settings = replace(settings, workspace=workspace, log_dir=workspace / "logs")
        click.echo(
            GREETING.format(
                environments=" and ".join(ENVIRONMENTS),
                url=f"http://{settings.host}:{settings.port}",
                workspace=workspace,
            )
        )
        run(settings)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _workspace() -> Path:
    """Return a directory of its own, or that of the demo that this was before a restart."""
    if WORKSPACE not in os.environ:
        os.environ[WORKSPACE] = tempfile.mkdtemp(prefix="comfysup-demo-")
    return Path(os.environ[WORKSPACE])
