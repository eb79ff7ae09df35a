"""Processes that write to the pipe of a log."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from comfysup.logs.pipe import LogPipe
from tests.scenarios.waiting import bounded

MakePipe = Callable[[], LogPipe]

HEADING = "=== 2026-11-26T01:00:00Z comfysup: 0 'a' starts, generation 1"
FIRST = f"{HEADING}\n".encode()


async def write(pipe: LogPipe, script: str, heading: str = HEADING) -> None:
    """Run a Python script with the pipe as stdout and stderr, and wait for its end."""
    end = pipe.open_for_instance(heading)
    try:
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", script), stdin=subprocess.DEVNULL, stdout=end, stderr=end
        )
    finally:
        os.close(end)
    async with bounded():
        assert await writer.wait() == 0


def content(file: Path) -> bytes:
    return file.read_bytes()


ONE_MILLION_BYTES = "import os; [os.write(1, b'%09d\\n' % n) for n in range(100_000)]"
EXPECTED = FIRST + b"".join(b"%09d\n" % number for number in range(100_000))
