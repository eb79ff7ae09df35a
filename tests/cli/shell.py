"""Commands as processes, with a pipe or on a terminal."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.scenarios.harness import Daemon
from tests.scenarios.waiting import bounded, until

COMFYSUP = (sys.executable, "-m", "comfysup")

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Said:
    """The output and the exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON says
        return json.loads(self.out)


class Shell:
    """Run commands for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._processes: list[asyncio.subprocess.Process] = []

    async def run(self, *words: object, **variables: object) -> Said:
        """Run a command to its end, with pipes for its output."""
        process = await self.begin(*words, **variables)
        async with bounded():
            out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    async def script(self, text: str) -> Said:
        """Run a line of bash to its end, in which `comfysup` is this program."""
        function = f'comfysup() {{ {shlex.join(COMFYSUP)} "$@"; }}'
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            f"{function}\n{text}",
            env=self.environ({}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._daemon.root,
        )
        self._processes.append(process)
        async with bounded():
            out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    async def begin(self, *words: object, **variables: object) -> asyncio.subprocess.Process:
        """Start a command that keeps running; it is killed at the end of the test."""
        process = await asyncio.create_subprocess_exec(
            *COMFYSUP,
            *map(str, words),
            env=self.environ(variables),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._daemon.root,
        )
        self._processes.append(process)
        return process

    async def legacy(self, *words: object, **variables: object) -> Said:
        return await self.run("legacy", *words, **variables)

    async def on_terminal(
        self,
        *words: object,
        columns: int = 120,
        until_seen: str = "",
        then: Callable[[asyncio.subprocess.Process], object] | None = None,
        **variables: object,
    ) -> tuple[int, str]:
        """Runs a command on a terminal; returns its exit code and all that was shown.

        With `until_seen` Ctrl-C is given once that is there, or `then` called with the process.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *COMFYSUP,
            *map(str, words),
            env=self.environ({"TERM": "xterm-256color", **variables}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self._daemon.root,
        )
        self._processes.append(process)
        os.close(theirs)
        seen = bytearray()
        reading = asyncio.ensure_future(asyncio.to_thread(_read_all, ours, seen))
        if until_seen:
            await until(lambda: until_seen in seen.decode(errors="replace"))
            if then is None:
                process.send_signal(signal.SIGINT)
            else:
                then(process)
        async with bounded():
            code = await process.wait()
        await reading
        os.close(ours)
        return code, seen.decode(errors="replace").replace("\r\n", "\n")

    async def close(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def environ(self, variables: dict[str, object]) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if "COMFY" not in name and name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
        }
        given = {"COMFYSUP_RUN_DIR": self._daemon.run_dir, **variables}
        return kept | {name: str(value) for name, value in given.items()}


def plain(shown: str) -> str:
    """Return the text of a terminal without control sequences."""
    return _CONTROLS.sub("", shown)


def _read_all(terminal: int, seen: bytearray) -> None:
    # A terminal whose other end is closed says EIO.
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            seen += piece
