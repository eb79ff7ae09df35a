"""Checks in a child process, before this process closes anything, that a restart can succeed.

The child runs the same command as the restart, with the same variables and directory, and checks
the requirements of a start. It prints its findings as JSON in its last line.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from comfysup.config.instances_file import read_instances_file
from comfysup.config.settings import Settings
from comfysup.config.variables import SettingsError
from comfysup.linux.executor import STALLED_AFTER, Executor, Executors, UnresponsiveError
from comfysup.linux.host.address_space import lacking
from comfysup.linux.process.signals import NoThreadError
from comfysup.linux.rundir import run_directory
from comfysup.linux.rundir.handover import VARIABLE as HANDOVER
from comfysup.linux.rundir.handover import command
from comfysup.linux.watchdog import Stall
from comfysup.logs.pump import LogPump
from comfysup.supervision.instance import Instance

VARIABLE = "COMFYSUP_REHEARSAL"
"""The variable that makes the child only check."""

PATIENCE = 120.0
"""Seconds for the child, which imports the whole program, possibly on a busy machine."""

KILL_PATIENCE = 5.0
"""Seconds for the kernel to end a killed child."""


def is_restart_check(environ: Mapping[str, str]) -> bool:
    """Return whether this process is that child."""
    return bool(environ.get(VARIABLE))


def findings(environ: Mapping[str, str]) -> list[str]:
    """Return all reasons why a daemon could not start here with these variables."""
    found = lacking()
    try:
        settings = Settings.from_environ(environ, os.geteuid())
    except SettingsError as error:
        settings = error.partial
        found += error.mistakes
    file = read_instances_file(settings.instances_file, settings)
    if not file.legible:
        found += [f"{settings.instances_file}: {each.text}" for each in file.mistakes]
    try:
        run_directory.check(settings.run_dir)
        with tempfile.TemporaryFile(dir=settings.run_dir):
            pass
    except run_directory.RunDirectoryError as error:
        found.append(str(error))
    except OSError as error:
        found.append(f"cannot write in {settings.run_dir}: {error.strerror}")
    return found


class RestartCheck:
    """One child process; `run` may be cancelled at any time."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._called_off = False

    async def run(self, environ: Mapping[str, str]) -> list[str]:
        """Return the reasons why the next program could not take over; empty if it can."""
        try:
            executor = Executor("restart check", 1)
        except NoThreadError as error:
            return [str(error)]
        try:
            patience = PATIENCE + 2 * KILL_PATIENCE
            return await executor.ask(partial(self._run, environ), command()[0], patience)
        except UnresponsiveError as error:
            return [str(error)]
        finally:
            self._called_off = True
            self._kill()
            executor.shutdown()

    def _run(self, environ: Mapping[str, str]) -> list[str]:
        variables = {name: environ[name] for name in environ if name != HANDOVER}
        argv = command()
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                argv,
                env=variables | {VARIABLE: "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            return [f"cannot run {argv[0]}: {error.strerror}"]
        if self._called_off:
            self._kill()
        try:
            said, complaint = self._child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._kill()
            with suppress(subprocess.TimeoutExpired):
                self._child.communicate(timeout=KILL_PATIENCE)
            return [f"{' '.join(argv)} has not answered for {PATIENCE:g} s"]
        return _understood(said, complaint)

    def _kill(self) -> None:
        if self._child is not None:
            with suppress(OSError):
                self._child.kill()


def _understood(said: bytes, complaint: bytes) -> list[str]:
    try:
        found = json.loads(said.splitlines()[-1])["findings"]
        return [str(each) for each in found]
    except (ValueError, LookupError, TypeError):
        lines = complaint.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
        return [f"the new program does not run: {last}"]


def stalls(
    executors: Executors,
    pump: LogPump,
    fleet: Iterable[Instance],
    log_file: Callable[[int], Path],
) -> Iterator[Stall]:
    """Yield the resources that threads wait for; `log_file` returns the log of an instance's id."""
    for executor in executors:
        for resource, seconds in executor.unanswered():
            yield Stall(f"stalled: {resource}", f"{resource} has not answered", seconds)
    stalled = pump.stalled()
    if stalled and stalled[1] > STALLED_AFTER:
        file, seconds = stalled
        numbers = [each.spec.id for each in fleet if log_file(each.spec.id) == file]
        name = f"the log of instance {numbers[0]}" if numbers else str(file)
        yield Stall(f"stalled: {file}", f"{name} has not been written", seconds)


def unkillable(executors: Executors, pump: LogPump) -> str | None:
    """Return why this process cannot execute another program now, or None.

    `exec` ends all threads first. The kernel waits for each thread without a limit, and nothing is
    served meanwhile.
    """
    resources = sorted({*executors.unkillable(), *pump.unkillable()})
    if not resources:
        return None
    return f"{', '.join(resources)}: no answer, and the thread that waits cannot be ended"
