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
    """Import meanwhile without looking for garbage, and without what the daemon has no use for.

    Nothing that is imported becomes garbage: looking for it takes a fifth of the time, and is left
    out for good. structlog imports rich wherever it is installed, for tracebacks that a daemon does
    not draw: 3 MB. aiohttp reads the certificates of all authorities, and the daemon checks
    nobody's: 2 MB and 40 ms.
    """
    gc.disable()
    with _without("rich"), _changed_environment(UNUSED):
        yield
    gc.freeze()
    gc.enable()


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Hide a module; None in its place is Python's own way to say that it is not there."""
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
"""Exit code where the settings or limits of a first start are wrong: no new start mends that."""


@click.command()
@click.option("--end", is_flag=True, help="Only stop what a daemon that died left running.")
def serve(*, end: bool) -> None:
    """Run the daemon in the foreground."""
    check_restart_if_asked(os.environ)
    check_answers(os.environ)
    run(read_settings(os.environ), end=end)


def check_restart_if_asked(environ: Mapping[str, str]) -> None:
    """Only say whether a daemon could begin here, where a daemon asks for that, and exit."""
    if not environ.get("COMFYSUP_REHEARSAL"):
        return
    with lean_imports():
        import comfysup.app.daemon  # that it can be imported is half of the answer
        from comfysup.app.restart_check import findings

    click.echo(json.dumps({"findings": findings(environ), "module": comfysup.app.daemon.__name__}))
    sys.exit()


def check_answers(environ: Mapping[str, str]) -> None:
    """Exit with 1 where the files of the settings or the run directory do not answer.

    The daemon writes down there what it is about to do before it does it, so that it stands still
    where that hangs. A daemon that restarts in place has checked that before.
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
    with suppress(Exception):  # what else is wrong is said by who reads it for good
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
    """Return the settings, or say all that is wrong with them and exit.

    A daemon that comes back goes on with the last ones that were good: it has instances to look
    after. So it never exits with 2 either, which would end the container.
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
    """Run a daemon with these settings and exit as it ends; with 1 when it cannot begin.

    With 2 where a limit of this process is too low for any daemon.

    With `greet` it belongs to somebody at a terminal: that is called once the port is open, and the
    daemon ends when the terminal is closed (SIGHUP) instead of restarting in place.
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
