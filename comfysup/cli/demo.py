"""`comfysup demo`: a daemon on a temporary workspace."""

import os
import shlex
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comfysup.cli.serve import check_restart_if_asked, read_settings, run

if TYPE_CHECKING:
    from comfysup.config.settings import Settings

WORKSPACE = "COMFYSUP_DEMO_WORKSPACE"
"""Passes the workspace on across a restart in place."""

ENVIRONMENTS = ("comm", "aua-sp")

GREETING = """\
comfysup demo: two environments, {environments}, with a stand-in for ComfyUI in each.

In another terminal:
  curl -X POST {url}/api/comfyui/start-single \\
    -H 'Content-Type: application/json' -d '{{"id": 0, "port": {port}, "name": "main"}}'
  {command} status
  {command} logs -f main

Ctrl-C, or closing this terminal, ends it and removes {workspace}.
"""


@click.command()
def demo() -> None:
    """Try comfysup without ComfyUI, in a throw-away workspace.

    The workspace has two environments, each with a stand-in for ComfyUI. The daemon serves this
    machine only, unless COMFYSUP_HOST names another address.
    """
    _end_on_signals()
    environ = {"COMFYSUP_HOST": "127.0.0.1", **os.environ}
    check_restart_if_asked(environ)
    restarted = WORKSPACE in os.environ
    one = _Demo(_workspace(), restarted=restarted)
    try:
        one.run(read_settings(environ))
    finally:
        one.clean_up()


class _Demo:
    """A demo in its workspace. After a restart in place (`restarted`) it may have instances."""

    def __init__(self, workspace: Path, *, restarted: bool) -> None:
        self._workspace = workspace
        self._restarted = restarted
        self._lives_on = restarted

    def run(self, settings: "Settings") -> None:
        """Serve, and exit as the daemon does."""
        from comfysup.demo.workspace import build_environment

        for name in ENVIRONMENTS:
            build_environment(self._workspace, name)
        own = replace(settings, workspace=self._workspace, log_dir=self._workspace / "logs")

        def greet() -> None:
            self._lives_on = True  # from now on an instance may
            if not self._restarted:
                click.echo(_greeting(own))

        try:
            run(own, greet=greet)
        except SystemExit as end:
            self._lives_on = self._lives_on and end.code != 0
            raise

    def clean_up(self) -> None:
        """Remove the workspace, unless an instance may live on, which needs its files."""
        if self._lives_on:
            kept = f"comfysup: {self._workspace} is kept: some processes could not be stopped"
            click.echo(kept, err=True)
        else:
            shutil.rmtree(self._workspace, ignore_errors=True)


def _greeting(settings: "Settings") -> str:
    return GREETING.format(
        environments=" and ".join(ENVIRONMENTS),
        url=f"http://{_reachable(settings.host)}:{settings.port}",
        port=settings.base_port,
        command=_command(),
        workspace=settings.workspace,
    )


def _end_on_signals() -> None:
    """Make SIGHUP and SIGTERM end this program as SIGINT does, until the daemon handles them."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def _reachable(host: str) -> str:
    """Return a host by which this machine reaches a listener on `host`."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - not bound
    return f"[{local}]" if ":" in local else local


def _command() -> str:
    """Return how this program is called from this directory, in a shell of its own."""
    called = sys.argv[0]
    found = shutil.which("comfysup")
    if found is not None and Path(found).resolve() == Path(called).resolve():
        command = "comfysup"
    elif Path(called).name == "__main__.py":
        command = f"{shlex.quote(sys.executable)} -m comfysup"
    else:
        command = shlex.quote(os.path.relpath(called))
    run_dir = os.environ.get("COMFYSUP_RUN_DIR")
    return f"COMFYSUP_RUN_DIR={shlex.quote(run_dir)} {command}" if run_dir else command


def _workspace() -> Path:
    """Return a directory of its own, or that of the demo that this was before a restart."""
    if WORKSPACE not in os.environ:
        os.environ[WORKSPACE] = tempfile.mkdtemp(prefix="comfysup-demo-")
    return Path(os.environ[WORKSPACE])
