"""One `comfysup serve` as a process, with its own directories and ports."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.scenarios import kernel
from tests.scenarios.client import Client
from tests.scenarios.ports import Ports
from tests.scenarios.waiting import bounded, until, until_async

SERVE = (sys.executable, "-m", "comfysup", "serve")

NO_PIDFDS = (sys.executable, str(Path(__file__).with_name("no_pidfds.py")))
"""Before a command: it runs where the kernel refuses pidfds."""

SANDBOX = NO_PIDFDS if os.environ.get("TEST_WITHOUT_PIDFDS") else ()
"""Before every daemon; `make test-without-pidfds` sets the variable."""

POLICY = {
    "startup_timeout": 600,
    "stop_grace": 20,
    "shutdown_grace": 8,
    "backoff_initial": 0.05,
    "backoff_max": 0.2,
    "probe_period": 1,
}
"""What a test does not say itself: quick where it waits for time to pass, patient where that
would be a failure on a loaded machine."""

ZOMBIE = 30.0
"""Seconds after which a zombie is one that nobody reaps. It ends only tests that fail."""

DEFECTS = (
    "Traceback",
    '.broke"',
    ".broke_again",
    "Exception in",
    "never retrieved",
    "was destroyed",
    "Warning:",
)
"""What the log of a daemon never says."""


class Daemon:
    """The daemon of one test. `close` ends it and asserts that nothing is left."""

    def __init__(self) -> None:
        # A short path: that of a unix socket is at most 107 bytes long.
        self.root = Path(tempfile.mkdtemp(prefix="comfysup-"))
        self.workspace = self.root / "workspace"
        self.workspace.mkdir()
        self.run_dir = self.root / "run"
        self.log_dir = self.root / "logs"
        self.ports = Ports()
        self.port = self.ports.reserve()
        self.exit_code = 0  # what its end must be
        self._process: asyncio.subprocess.Process | None = None
        self._client: Client | None = None

    # ---- its life

    async def start(
        self, *wrapper: str, variables: dict[str, str] | None = None, **policy: float
    ) -> Self:
        """Starts it, behind another program if need be, and waits until it answers.

        `policy` names settings without COMFYSUP_, in lower case.
        """
        if self._client is not None:
            await self._client.close()
        self._process = await self.spawn(*wrapper, variables=variables, **policy)
        self._client = Client(self.run_dir / "api.sock", self.port)
        await until_async(self._answers)
        return self

    async def spawn(
        self, *wrapper: str, variables: dict[str, str] | None = None, **policy: float
    ) -> asyncio.subprocess.Process:
        """Start the daemon as `start` does, without waiting for it."""
        with (self.root / "daemon.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(*wrapper, *SANDBOX, *SERVE),
                env=self._environ(policy) | (variables or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
            )

    @property
    def api(self) -> Client:
        assert self._client is not None, "not started"
        return self._client

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end of the daemon, and return its exit code."""
        assert self._process is not None, "not started"
        async with bounded():
            return await self._process.wait()

    async def kill(self) -> None:
        """Kill the daemon; `start` starts the next one."""
        await self.api.close()
        self.signal(signal.SIGKILL)
        await self.ended()

    # ---- what it says

    def log(self) -> list[dict[str, Any]]:
        """Return the log of the daemon; a line that is not JSON has only an `event`."""
        return [_line(text) for text in self._log_text().splitlines()]

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines of one event with these fields."""
        return [
            line
            for line in self.log()
            if line["event"] == name and all(line.get(key) == fields[key] for key in fields)
        ]

    def instance_log(self, number: int) -> str:
        return (self.log_dir / f"comfyui_instance_{number}.log").read_text(errors="replace")

    # ---- what it leaves

    def processes(self) -> dict[int, str]:
        """Return the running processes of all instances, according to /proc."""
        identity = self.run_dir / "identity"
        marker = identity.read_text() if identity.exists() else "none"
        return {
            pid: command
            for pid, command in kernel.all_of(marker, self.workspace).items()
            if self._process is None or pid != self._process.pid
        }

    def open_outputs(self) -> list[str]:
        """Return the open outputs of instances: a thread closes them after the response."""
        opened = []
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                opened.append(str(each.readlink()))
        return [each for each in opened if each.startswith(str(self.run_dir / "fifo"))]

    async def close(self) -> None:
        """End the daemon as `docker stop` does, and assert that no process and no error is left."""
        try:
            try:
                zombies = await self._end()
            finally:
                left = self.processes()
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                log = self._log_text().splitlines()[-200:]
                print("\n".join(log))  # noqa: T201 - shown on failure
            assert not zombies, f"zombies of the daemon: {zombies}"
            assert not left, f"left alive: {left}"
            self._check_log()
        finally:
            self.ports.close()
            shutil.rmtree(self.root, ignore_errors=True)
            rest = sorted(map(str, self.root.rglob("*")))
            assert not self.root.exists(), f"written while it was removed: {rest}"

    async def _end(self) -> list[int]:
        if self._client is not None:
            await self._client.close()
        if self._process is None:
            return []
        zombies: list[int] = []
        if self._process.returncode is None:
            # One may be about to be reaped; none stays.
            try:
                await until(lambda: not kernel.zombies_of(self.pid), ZOMBIE)
            except AssertionError:
                zombies = kernel.zombies_of(self.pid)
            self.signal(signal.SIGTERM)
        try:
            code = await self.ended()
            assert self.exit_code == code, f"it ended with {code}"
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        return zombies

    def _check_log(self) -> None:
        said = [
            line
            for line in self._log_text().splitlines()
            if any(defect in line for defect in DEFECTS)
        ]
        assert not said, said

    async def _answers(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            code = self._process.returncode
            raise RuntimeError(f"the daemon ended with {code}: {self._log_text()}")
        try:
            return (await self.api.ask("GET", "/livez")).status == 200
        except OSError:
            return False

    def _log_text(self) -> str:
        file = self.root / "daemon.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _environ(self, policy: dict[str, float]) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if "COMFY" not in name and not name.startswith("STANDIN_")
        }
        settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "workspace": self.workspace,
            "instances_file": self.root / "instances.json",
            "run_dir": self.run_dir,
            "log_dir": self.log_dir,
            **POLICY,
            **policy,
        }
        return kept | {f"COMFYSUP_{name.upper()}": str(settings[name]) for name in settings}


def _line(text: str) -> dict[str, Any]:
    try:
        line: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"event": text}
    return line
