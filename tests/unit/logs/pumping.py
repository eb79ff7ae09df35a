"""A process that only pumps, to be killed: `pumping FIFO LOG MAX_BYTES KEEP [LINE]`.

It adopts the FIFO, says `begun`, and never ends by itself. With LINE it kills itself before it
executes the so manyth line of the code that writes logs.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from comfysup.logs.files import Rotation
from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump

WRITING = {"pump.py", "writer.py", "files.py", "stream_offsets.py", "pipe_peeker.py"}


class Bomb:
    """Kill this process at a line of the code under test."""

    def __init__(self, line: int) -> None:
        self._left = line

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - sys's
        if Path(frame.f_code.co_filename).name not in WRITING:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


async def main(fifo: str, log: str, max_bytes: str, keep: str, line: str = "0") -> None:
    if int(line):
        threading.settrace(Bomb(int(line)).trace)
    pump = LogPump(Rotation(int(max_bytes), int(keep)))
    pump.start()
    LogPipe.adopt(Path(fifo), Path(log), pump)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
