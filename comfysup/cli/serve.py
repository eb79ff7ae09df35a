"""`comfysup serve`.

The daemon's modules are imported when it begins and not when help is shown.
"""

import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from comfysup.cli.errors import FAILED, FailedError
from comfysup.cli.file_timeout import forked
from comfysup.cli.output import ExitWith
from comfysup.config.run_location import SETTINGS_NAME, chosen

UNUSED = {
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
}


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import in the context without garbage collection and without unneeded modules.

    Imports create no garbage, and collecting takes a fifth of the time. structlog imports rich, if
    installed, for tracebacks that the daemon does not draw: 3 MB. aiohttp loads the certificates of
    all authorities, which the daemon does not use: 2 MB and 40 ms.
    """
    gc.disable()
    with _without("rich"), _changed_environment(UNUSED):
        yield
    gc.freeze()
    gc.enable()


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Hide a module. None in `sys.modules` makes its import fail."""
    module = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module


@contextmanager
def _changed_environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if TYPE_CHECKING:
    from comfysup.config.settings import Settings

USAGE = 2
"""Exit code for wrong settings or limits at a first start, which a retry cannot fix."""


@click.command()
@click.option(
    "--end", is_flag=True, help="Only stop the instances that a dead daemon has left running."
)
def serve(*, end: bool) -> None:
    """Run the daemon in the foreground."""
    check_restart_if_asked(os.environ)
    check_answers(os.environ)
    run(read_settings(os.environ), end=end)


def check_restart_if_asked(environ: Mapping[str, str]) -> None:
    """If a daemon requests a restart check, check whether a daemon can start here, and exit."""
    if not environ.get("COMFYSUP_REHEARSAL"):
        return
    with lean_imports():
        import comfysup.app.daemon  # that it can be imported is half of the answer
        from comfysup.app.restart_check import findings

    click.echo(json.dumps({"findings": findings(environ), "module": comfysup.app.daemon.__name__}))
    sys.exit()


def check_answers(environ: Mapping[str, str]) -> None:
    """Exit with 1 if the files of the settings or the run directory do not answer.

    The daemon records each action there first, so it stops working when they hang. A restart in
    place has already been checked.
    """
    with lean_imports():
        from comfysup.config.settings import Settings
        from comfysup.config.variables import SettingsError
        from comfysup.linux.rundir import run_directory
        from comfysup.linux.rundir.handover import is_handed_over

    if is_handed_over(environ):
        return
    try:
        touch, _ = forked()
    except FailedError as error:
        click.echo(f"comfysup: cannot run: {error}", err=True)
        sys.exit(FAILED)
    if touch is None:
        return
    with suppress(Exception):  # the later reader reports other errors
        touch(
            f"the run directory {chosen(environ, os.geteuid())}, or a file that a variable names,"
        )
        try:
            run_dir = Settings.from_environ(environ, os.geteuid()).run_dir
        except SettingsError as error:
            run_dir = error.partial.run_dir
        touch(f"the run directory {run_dir}, which must not lie on a volume,")
        run_directory.check(run_dir)
        with tempfile.TemporaryFile(dir=run_dir) as file:
            file.write(b"-")
    os._exit(0)


def read_settings(environ: Mapping[str, str]) -> "Settings":
    """Return the settings, or print all errors in them and exit.

    A restarted daemon falls back to the last valid settings, because it has running instances. It
    therefore never exits with 2, which would end the container.
    """
    with lean_imports():
        from comfysup.app.last_settings import instead_of, last_good
        from comfysup.config.settings import Settings
        from comfysup.config.variables import SettingsError
        from comfysup.linux.host.boot_identity import BootIdentity
        from comfysup.linux.rundir.handover import is_handed_over

    try:
        return Settings.from_environ(environ, os.geteuid())
    except SettingsError as error:
        last = last_good(error.partial.run_dir / SETTINGS_NAME, BootIdentity.current())
        if last is not None:
            return instead_of(error.partial, last, error.mistakes)
        click.echo(f"comfysup: {error}", err=True)
        sys.exit(FAILED if is_handed_over(environ) else USAGE)


def run(
    settings: "Settings", *, end: bool = False, greet: Callable[[], None] | None = None
) -> None:
    """Run a daemon with these settings and exit with its code, or with 1 if it cannot start.

    Exits with 2 if a limit of this process is too low. With `greet` the daemon belongs to a
    terminal: `greet` is called when the port is open, and SIGHUP ends the daemon instead of
    restarting it.
    """
    with lean_imports():
        from comfysup.app.daemon import Daemon, DaemonError, Order
        from comfysup.cli.log_format import LogStream, configure_logging
        from comfysup.linux.host.address_space import lacking, save_address_space
        from comfysup.linux.process.signals import NoThreadError
        from comfysup.linux.rundir.handover import is_handed_over

    if reasons := lacking():
        click.echo(f"comfysup: cannot run: {'; '.join(reasons)}", err=True)
        sys.exit(FAILED if is_handed_over(os.environ) else USAGE)
    save_address_space()
    configure_logging(LogStream())
    daemon = Daemon(settings) if greet is None else Daemon(settings, greet, Order.END)
    try:
        raise ExitWith(daemon.run(end=end))
    except (DaemonError, NoThreadError) as error:
        sys.exit(f"comfysup: {error}")
    except MemoryError:
        sys.exit("comfysup: out of memory; raise the limit of the container or of its shell")
