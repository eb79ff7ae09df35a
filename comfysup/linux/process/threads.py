"""The threads of a process: what they have used, and for what they wait, from /proc (proc(5))."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NOTABLE_BYTES: Final = 1 << 20
"""Bytes of files that count as work; log lines and the page of a browser are less."""


@dataclass(frozen=True, slots=True)
class Threads:
    """The ids of the threads; the CPU `ticks` of all but the main one, and `moved` bytes so far."""

    ids: frozenset[int]
    ticks: int
    moved: int

    @classmethod
    def of(cls, pid: int) -> "Threads | None":
        """Look at a process; None where it has ended or cannot be read. May block."""
        try:
            ids = frozenset(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names
        except OSError:
            return None
        ticks = sum(_ticks(pid, each) for each in ids if each != pid)
        return cls(ids, ticks, _moved(pid))

    def worked_since(self, before: "Threads | None") -> bool:
        """Say whether a thread but the main one has worked; yes where nothing is known of then."""
        if before is None:
            return True
        # A thread that has ended takes its ticks along: then they may even be less.
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
    """Whether a thread of this process waits in the kernel so that a signal does not end the wait.

    A FUSE server that has taken a request (`request_wait_answer` in fs/fuse/dev.c) is waited for
    whatever comes; NFS waits by functions that call themselves killable.
    """
    task = f"/proc/self/task/{thread}"
    try:
        state = Path(f"{task}/stat").read_bytes().rpartition(b")")[2].split()[0]
        function = Path(f"{task}/wchan").read_text("ascii")
    except OSError:
        return False
    return function == "request_wait_answer" or (state == b"D" and "killable" not in function)
