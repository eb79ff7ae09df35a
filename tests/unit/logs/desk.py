"""A log that a test writes and reads."""

import os
from dataclasses import dataclass
from pathlib import Path

from comfysup.logs.pipe import LogPipe
from comfysup.logs.pump import LogPump
from comfysup.logs.reader import LogReader


@dataclass(frozen=True, slots=True)
class Desk:
    """A log that is written and read."""

    log: Path
    fifo: Path
    pump: LogPump
    reader: LogReader

    def begin(self) -> "Generation":
        pipe = LogPipe.create(self.fifo, self.log, self.pump)
        return Generation(pipe, pipe.open_for_instance("=== starts"))

    async def history(self, lines: int) -> str:
        async with self.reader.history(self.log, lines) as pieces:
            return "".join([piece async for piece in pieces])


@dataclass(frozen=True, slots=True)
class Generation:
    """The writing end of an instance's log."""

    pipe: LogPipe
    end: int

    async def write(self, data: bytes) -> None:
        """Write data, and return when it is in the log."""
        for begin in range(0, len(data), 65536):
            os.write(self.end, data[begin : begin + 65536])
            await self.pipe.drain()

    async def close(self) -> None:
        os.close(self.end)
        await self.pipe.close()
