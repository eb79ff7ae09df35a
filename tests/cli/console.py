"""The commands of a page, run on a terminal, and what each is said to print.

A block that begins with `console` holds commands behind `$ ` and what each prints. `…` in a line
stands for any text, a line of `…` alone for any lines; the spaces between columns do not count.
"""

import os
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.cli.progress import SPINNER
from tests.scenarios.harness import Daemon


@dataclass
class Command:
    """A command of the page, and its documented output."""

    text: str
    printed: list[str] = field(default_factory=list)

    @property
    def pattern(self) -> re.Pattern[str]:
        lines = (
            r"(?:.*\n)*?" if line.strip() == "…" else rf"\s*{_line(line)}\s*\n"
            for line in self.printed
        )
        return re.compile("".join(lines), re.MULTILINE)


def _line(text: str) -> str:
    pattern = ""
    for place, word in enumerate(text.split()):
        if word == "…" and place:
            pattern += r"(?:\s+.*?)?"  # a column that is not always there
        else:
            pattern += r"\s+" if place else ""
            pattern += ".*?".join(map(re.escape, word.split("…")))
    return pattern


def commands(text: str) -> Iterator[Command]:
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        command = None
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command
                command = Command(line.removeprefix("$ "))
            else:
                assert command, f"printed by no command: {line}"
                command.printed.append(line)
        if command:
            yield command


LIVE = frozenset(SPINNER)
"""What the lines begin with that a terminal shows while it waits, and clears afterwards."""

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def run(command: Command, daemon: Daemon) -> str:
    """Run a command on a terminal, as a reader does, and return its output."""
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (50, 200))
    try:
        with subprocess.Popen(
            ["bash", "-c", command.text],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            cwd=daemon.root,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
                "TERM": "xterm",
                "COMFYSUP_RUN_DIR": str(daemon.run_dir),
                "COMFYSUP_WORKSPACE": str(daemon.workspace),
            },
        ) as process:
            os.close(terminal)
            printed = b"".join(_pieces(screen)).decode()
    finally:
        os.close(screen)
    assert process.returncode == 0, f"{command.text}\n{printed}"
    lines = ESCAPES.sub("", printed).splitlines()
    return "".join(f"{line}\n" for line in lines if line[:1] not in LIVE)


def _pieces(screen: int) -> Iterator[bytes]:
    with suppress(OSError):  # EIO: the last one has closed the terminal
        while piece := os.read(screen, 1 << 16):
            yield piece
