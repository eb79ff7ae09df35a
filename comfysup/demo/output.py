"""What a stand-in writes: log lines as ComfyUI's, floods, raw bytes, progress bars.

ComfyUI logs to stderr, one bare message a line; so does `log`. Floods and raw bytes go to
descriptor 1 past every buffer, so that what was written before a SIGKILL is written.
"""

import os
import sys
import threading
import time
from pathlib import Path

from comfysup.demo.misbehaviour import Flood

_STDOUT = 1
# A pipe takes so many bytes in one piece, so no line is cut by another thread's.
_ATOMIC = 4096


def log(message: str) -> None:
    """One message on stderr, at once."""
    print(message, file=sys.stderr, flush=True)


def copy_to_stdout(path: Path) -> None:
    """Writes the file's bytes as they are."""
    _write(path.read_bytes())


def start_flood(flood: Flood) -> threading.Thread:
    """Writes the numbered lines on a thread of its own, then `flood done LINES`."""
    thread = threading.Thread(target=write_flood, args=(flood,), daemon=True, name="flood")
    thread.start()
    return thread


def write_flood(flood: Flood) -> None:
    """Writes the numbered lines, in blocks that a pipe takes whole where no rate is given."""
    started = time.monotonic()
    block = b""
    for number in range(flood.lines):
        line = f"flood {number:09d} ".ljust(flood.width, "x").encode() + b"\n"
        if flood.per_second is not None:
            time.sleep(max(0.0, started + number / flood.per_second - time.monotonic()))
        elif len(block) + len(line) <= _ATOMIC:
            block += line
            continue
        _write(block or line)
        block = line if block else b""
    _write(block + f"flood done {flood.lines}\n".encode())


def show_progress(step: int, steps: int) -> None:
    """A bar as tqdm draws it: over the last one, and a new line only at the end."""
    filled = "█" * (step * 10 // steps)
    end = "\n" if step == steps else ""
    bar = f"\r{step * 100 // steps:3d}%|{filled:10}| {step}/{steps} [00:00<00:00, 10.00it/s]{end}"
    sys.stderr.write(bar)
    sys.stderr.flush()


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]
