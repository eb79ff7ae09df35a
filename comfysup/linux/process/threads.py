"""The threads of a process: CPU time and wait state, from /proc (proc(5))."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NOTABLE_BYTES: Final = 1 << 20
"""Bytes of I/O that count as work. Log lines and a browser's page are less."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Thread ids, CPU `ticks` of all threads but the main one, and bytes `moved` so far."""

    ids: frozenset[int]
    ticks: int
    moved: int

    @classmethod
    def of(cls, pid: int) -> "Threads | None":
        """Return the threads of a process, or None if it is gone or unreadable. May block."""
        try:
            ids = frozenset(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names
        except OSError:
            return None
        ticks = sum(_ticks(pid, each) for each in ids if each != pid)
        return cls(ids, ticks, _moved(pid))

    def worked_since(self, before: "Threads | None") -> bool:
        """Return whether a thread other than the main one has worked; True if `before` is None."""
        if before is None:
            return True
        # The ticks of ended threads are lost, so the sum can decrease.
        return self.ticks > before.ticks or self.moved - before.moved > NOTABLE_BYTES


def _ticks(pid: int, thread: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
        fields = text[text.rindex(b")") + 2 :].split()
        return int(fields[11]) + int(fields[12])
    return 0


def _moved(pid: int) -> int:
    with suppress(OSError, ValueError):
        lines = Path(f"/proc/{pid}/io").read_bytes().splitlines()
        values = dict(line.split(b": ", 1) for line in lines)
        return sum(int(values.get(name, 0)) for name in (b"rchar", b"wchar"))
    return 0


def is_unkillable(thread: int) -> bool:
    """Return whether a thread of this process is in a kernel wait that no signal ends.

    This covers a request that a FUSE server has accepted (`request_wait_answer` in fs/fuse/dev.c).
    NFS waits in functions whose names contain "killable".
    """
    task = f"/proc/self/task/{thread}"
    try:
        state = Path(f"{task}/stat").read_bytes().rpartition(b")")[2].split()[0]
        function = Path(f"{task}/wchan").read_text("ascii")
    except OSError:
        return False
    return function == "request_wait_answer" or (state == b"D" and "killable" not in function)
