"""What a run of the tests leaves behind fails it, and is named.

All that tests make lies in one directory, by way of TMPDIR; all that they start inherits one
variable, and pytest's own that tells which test it was.
"""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MARK = "SUITE_RUN"
TEST = re.compile(rb"PYTEST_CURRENT_TEST=([^\0]*)")
CACHES = {".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache", "__pycache__"}
DYING = 10.0
"""Seconds that a process which was killed may take to be gone. It ends only runs that fail."""


@dataclass(slots=True)
class Run:
    """One run of pytest, including its workers."""

    repository: Path
    entries: set[str]
    root: Path
    left: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, repository: Path) -> "Run":
        """Create the directory, and export it to all started processes."""
        # A short path: that of a unix socket is at most 107 bytes long.
        root = Path(tempfile.mkdtemp(prefix="suite-"))
        root.chmod(0o711)  # a test runs its daemon as another user
        os.environ |= {"TMPDIR": str(root), MARK: root.name}
        tempfile.tempdir = str(root)
        return cls(repository, {each.name for each in repository.iterdir()}, root)

    @property
    def basetemp(self) -> Path:
        return self.root / "t"

    def end(self) -> None:
        """Find and remove leftovers."""
        give_up = time.monotonic() + DYING
        while (pids := list(self._processes())) and time.monotonic() < give_up:
            time.sleep(0.01)
        self.left += (f"process {_described(pid)}" for pid in pids)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.left += (f"mount {line.split()[1]}" for line in self._mounts())
        self.left += (f"{each}" for each in self.root.iterdir() if each != self.basetemp)
        now = {each.name for each in self.repository.iterdir()}
        self.left += (f"{self.repository / each}" for each in now - self.entries - CACHES)
        shutil.rmtree(self.root, ignore_errors=True)

    def _processes(self) -> Iterator[int]:
        mark = f"{MARK}={self.root.name}\0".encode()
        for name in os.listdir("/proc"):  # noqa: PTH208 - as names
            if not name.isdigit() or int(name) == os.getpid():
                continue
            for thread in _threads(name):
                with suppress(OSError):
                    place = (thread / "cwd").readlink()
                    if mark in (thread / "environ").read_bytes() or (
                        place.is_relative_to(self.root)
                    ):
                        yield int(name)
                        break

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in lines if line.split()[1].startswith(f"{self.root}/")]


def _threads(pid: str) -> list[Path]:
    """What /proc tells of the threads of a process, the first and one more.

    Where the first has ended and another has not, as one that a dead mount holds, nothing but the
    other tells whose process that zombie is.
    """
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        others = [process / "task" / each for each in os.listdir(process / "task") if each != pid]  # noqa: PTH208 - as names
        return [process, *others[:1]]
    return []


def _described(pid: int) -> str:
    """Return the command of a process, and the test that started it."""
    for thread in _threads(str(pid)):
        with suppress(OSError):
            words = (thread / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if words:
                test = TEST.search((thread / "environ").read_bytes())
                return f"{pid} ({words}), of {test[1].decode() if test else 'a test'}"
    return str(pid)


RUN = pytest.StashKey[Run]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: its controller looks
        return
    run = config.stash[RUN] = Run.begin(config.rootpath)
    config.option.basetemp = config.option.basetemp or str(run.basetemp)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After all fixtures, and after the workers."""
    if run := session.config.stash.get(RUN, None):
        run.end()
        if run.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    run = config.stash.get(RUN, None)
    if run and run.left:
        terminalreporter.section("left behind", red=True)
        for each in run.left:
            terminalreporter.line(each)
